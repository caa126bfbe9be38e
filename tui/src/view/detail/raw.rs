//! The tab Raw: every field of the event.

use super::{NAME, Page, safe, value_text};
use crate::app::views::detail::Subject;
use ratatui::style::Style;
use ratatui::text::Line;
use tracetui_events::event::describe::{COMMON, Field, Value};
use tracetui_events::event::stack::Stack;
use tracetui_events::event::{EventContext, fields_of};
use tracetui_shared::kind::Kind;

impl Page<'_> {
    /// Every field, with its name in filters.
    pub(super) fn raw(&self, subject: Subject) -> Vec<Line<'static>> {
        let Subject::Event(id) = subject else {
            return vec![Line::styled(
                " (Raw shows the fields of an event, and this is a process)",
                self.theme.quiet(),
            )];
        };
        let stored = self.app.store().get(id);
        stored.and_then(|stored| stored.with(self.app.world(), |seen| self.all_fields(seen))).unwrap_or_default()
    }

    /// All fields of the event, with their names in filters.
    fn all_fields(&self, seen: &EventContext<'_>) -> Vec<Line<'static>> {
        let kind = seen.event.kind();
        let own = fields_of(kind).iter();
        let listed: Vec<&Field> = if kind == Kind::Lost { own.collect() } else { own.chain(COMMON).collect() };
        let mut values: Vec<(String, Value<'_>)> = Vec::new();
        for field in listed {
            match (field.get)(seen) {
                Value::Object => {
                    let sub = field.sub.iter();
                    values.extend(sub.map(|sub| (format!("{}.{}", field.name, sub.name), (sub.get)(seen))));
                }
                value => values.push((field.name.to_owned(), value)),
            }
        }
        values.retain(|(_, value)| !matches!(value, Value::Omitted | Value::Null));
        // All values begin in the same column.
        let cells = values.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        let cells = cells.min(self.width / 3).max(NAME);
        let lines = values.iter().flat_map(|(name, value)| match value {
            Value::Stack(stack) => self.stack(stack, cells),
            value => self.named_in(cells, name, &value_text(value, self.theme), Style::new()),
        });
        lines.collect()
    }

    /// The calls of a stack, one per line, with this many cells for the name.
    pub(super) fn stack(&self, stack: &Stack<'_>, cells: usize) -> Vec<Line<'static>> {
        let mut lines = Vec::new();
        for call in stack.calls() {
            let mut text = Vec::new();
            call.write(&mut text);
            let name = if lines.is_empty() { "stack" } else { "" };
            lines.extend(self.named_in(cells, name, &safe(&text, self.theme), Style::new()));
        }
        if stack.is_cut() {
            lines.extend(self.named_in(cells, "", "(truncated)", Style::new()));
        }
        lines
    }
}
