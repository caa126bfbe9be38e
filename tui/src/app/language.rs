//! The filter language as the dashboard's display filter.

use super::filter::{DisplayFilter, FilterInputError};
use crate::enrich::World;
use crate::event::EventContext;
use crate::filter::{Filter, Scratch};
use std::cell::RefCell;
use tracetui_shared::id::Tgid;

/// A filter with the room that its evaluation needs.
#[derive(Debug)]
struct Language {
    filter: Filter,
    scratch: RefCell<Scratch>,
}

impl DisplayFilter for Language {
    fn matches(&self, seen: &EventContext<'_>) -> bool {
        self.filter.matches(seen, &mut self.scratch.borrow_mut())
    }

    // The language itself lets gap rows through unless kinds are named without them.
    fn names_kinds(&self) -> bool {
        true
    }

    fn roots(&self) -> Vec<Tgid> {
        self.filter.roots()
    }

    fn parts(&self) -> Vec<String> {
        self.filter.parts()
    }
}

/// Reads an expression of the filter language.
///
/// # Errors
/// [`FilterInputError`] with the message, the place and a hint.
pub fn parse(text: &str, world: &World) -> Result<Box<dyn DisplayFilter>, FilterInputError> {
    let filter = Filter::parse(text, world).map_err(|error| FilterInputError {
        at: error.at,
        message: error.message,
        hint: error.hint,
    })?;
    Ok(Box::new(Language { filter, scratch: RefCell::default() }))
}
