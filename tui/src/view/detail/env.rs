//! The tab Env: what the exec of the process's program changed in the environment.

use super::{Page, safe};
use ratatui::style::Style;
use ratatui::text::Line;
use tracetui_events::event::describe::args;
use tracetui_events::text::counted;

impl Page<'_> {
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
