//! The tabs Parents, Raw and Env.

use super::{Listed, NAME, Page, command, ended, safe, value_text};
use crate::app::views::detail::Subject;
use crate::app::views::detail::actions::Family;
use crate::view::duration;
use ratatui::style::Style;
use ratatui::text::Line;
use tracetui_events::event::describe::{COMMON, Field, Value, args};
use tracetui_events::event::stack::Stack;
use tracetui_events::event::{EventContext, fields_of};
use tracetui_events::text::{self, counted};
use tracetui_shared::kind::Kind;

impl Page<'_> {
    /// The ancestors of the process, oldest first, the process itself, and its children.
    pub(super) fn parents(&self) -> Listed {
        let Some(process) = self.app.subject_process() else { return (Vec::new(), None) };
        let world = self.app.world();
        let family = Family::of(&process, &world.processes);
        let own = family.ancestors.len();
        let above = family.ancestors.iter().copied().enumerate();
        let below = family.children.iter().map(|entry| (own + 1, &entry.process));
        let (mut lines, mut at) = (Vec::new(), None);
        for (depth, listed) in above.chain([(own, &process)]).chain(below) {
            let (state, lived) = match world.processes.get(listed.key).map(|entry| entry.end) {
                None => ("gone".to_owned(), String::new()),
                Some(None) => (self.app.without_end().to_owned(), String::new()),
                Some(Some(end)) => (ended(end.status), duration(listed.ran_ns(end.time))),
            };
            let indent = " ".repeat(depth.min(20));
            let pid = listed.key.tgid.0;
            let text = format!(" {pid:>7} {state:<10} {lived:>7}  {indent}{}", command(listed, self.theme));
            let style = if depth == own { self.theme.strong() } else { Style::new() };
            let line = Line::styled(text::cut(&text, self.width, self.theme.charset), style);
            let is_selected = depth != own && self.is_selected(listed);
            at = if is_selected { Some(lines.len()) } else { at };
            lines.push(self.row(line, is_selected));
        }
        if family.more > 0 {
            lines.push(Line::styled(
                format!(" and {}", counted(family.more as u64, ["more child", "more children"])),
                self.theme.quiet(),
            ));
        }
        (lines, at)
    }

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

    /// What the exec of the process's program changed in the environment.
    pub(super) fn env(&self) -> Vec<Line<'static>> {
        let process = self.app.subject_process();
        let Some(env) = process.as_ref().and_then(|process| process.image.env.as_deref()) else {
            let why = " (not known: no exec with its environment was traced)";
            return vec![Line::styled(why, self.theme.quiet())];
        };
        let against = match env.known {
            true => "compared with the previous program of the process, or its parent",
            false => "the earlier environment is not known",
        };
        let all = format!(" {}, {against}", counted(env.count.into(), ["variable", "variables"]));
        let mut lines = vec![Line::styled(all, self.theme.quiet())];
        let line =
            |sign: &str, text: &[u8], style: Style| Line::styled(format!(" {sign} {}", safe(text, self.theme)), style);
        lines.extend(args(&env.set).map(|variable| line("+", variable, self.theme.note())));
        lines.extend(args(&env.unset).map(|name| line("-", name, self.theme.failure())));
        if env.known && env.set.is_empty() && env.unset.is_empty() {
            lines.push(Line::styled(" (unchanged)", self.theme.quiet()));
        }
        lines
    }
}
