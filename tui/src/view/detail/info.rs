//! The tab Why: the answer, the event, the process and its files.

use super::{Listed, NAME, Page, command, ended, safe, value_text, written};
use crate::app::keys::keymap::Action;
use crate::app::views::detail::actions::Family;
use crate::app::views::detail::{Size, Subject};
use crate::app::views::event_list::row::{TimeBase, TimeMode};
use crate::app::views::tree::Seen;
use crate::view::{clock, duration, gap, loss};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use tracetui_events::event::describe::{Value, args};
use tracetui_events::event::exec::Exec;
use tracetui_events::event::exit::{Ended, Exit};
use tracetui_events::event::lost::Lost;
use tracetui_events::event::process::{Process, ProcessKey};
use tracetui_events::event::session;
use tracetui_events::event::stdio::Descriptor;
use tracetui_events::event::{Body, Components, EventContext, Home, Payload as _, Tables as _, Takes, lost, takes};
use tracetui_events::limits;
use tracetui_events::search::included;
use tracetui_events::store::{Id, Stored};
use tracetui_events::text::{counted, grouped, size};
use tracetui_events::why::{Basis, Cause};
use tracetui_events::{text, why};
use tracetui_shared::kind::{Kind, KindSet};
use tracetui_shared::record::exec::STDIO;
use tracetui_shared::record::session::known;
use tracetui_shared::time::BootNanos;

/// How many lines of output, and how many calls, are shown of an exit without a cause.
const LAST: usize = 3;

/// The names of the standard descriptors.
const NAMES: [&str; STDIO] = ["stdin", "stdout", "stderr"];

impl Page<'_> {
    pub(super) fn answer(&self, subject: Subject) -> Listed {
        let process = self.app.subject_process();
        let mut lines = match subject {
            Subject::Event(id) => {
                let stored = self.app.store().get(id);
                let lines = stored.and_then(|stored| stored.with(self.app.world(), |seen| self.of_event(id, seen)));
                lines.unwrap_or_default()
            }
            Subject::Process(_) => Vec::new(),
        };
        let (joined, selected) = self.joined(subject);
        let selected = selected.map(|at| lines.len() + at);
        lines.extend(joined);
        if let Some(process) = process {
            lines.extend(self.of_process(&process));
        }
        if let Subject::Event(id) = subject
            && let Some(stored) = self.app.store().get(id)
        {
            lines.extend(stored.with(self.app.world(), |seen| self.stack_of(seen)).unwrap_or_default());
        }
        lines.extend(self.file_groups());
        if lines.is_empty() {
            lines.push(Line::styled(" (evicted from memory)", self.theme.quiet()));
        }
        (lines, selected)
    }

    /// The other events of a connection, at both ends, or of a file.
    fn joined(&self, subject: Subject) -> Listed {
        let app = self.app;
        let (mut lines, mut selected) = (Vec::new(), None);
        for (id, other) in app.detail.joined().filter(|_| matches!(subject, Subject::Event(_))) {
            let stored = app.store().get(id);
            let line = stored.and_then(|stored| stored.with(app.world(), |seen| self.of_connection(seen, other)));
            let Some(line) = line else { continue };
            let is_selected = app.detail.row == Some(Subject::Event(id));
            selected = if is_selected { Some(lines.len()) } else { selected };
            lines.push(self.row(line, is_selected));
        }
        if app.detail.joining(app.store()) {
            lines.extend(self.named_lines("", "(looking for related events)", self.theme.quiet()));
        }
        (lines, selected)
    }

    /// An event of a connection. `other`: whether it is about the other end.
    fn of_connection(&self, seen: &EventContext<'_>, other: bool) -> Line<'static> {
        let (header, comm) = (&seen.event.header, safe(seen.event.header.comm(), self.theme));
        let result = written(|out| seen.result(out), self.theme);
        let detail = written(|out| seen.detail(out), self.theme);
        let time = clock(header.time.0, seen.clock_offset, self.app);
        let (before, pid) = (seen.event.body.before_result(), header.tgid.0);
        let is_of_file = seen.event.body.connection().is_none();
        let text = match is_of_file {
            true if seen.event.failed() => format!("{time} {result}  {pid} {comm}  {detail}"),
            true => format!("{time} {pid} {comm}  {detail}"),
            false => format!("{time} {} {before}{result}  {pid} {comm}  {detail}", self.value(seen, "op")),
        };
        let text = text::cut(&text, self.width.saturating_sub(NAME + 2), self.theme.charset);
        let style = if seen.event.failed() { self.theme.failure() } else { Style::new() };
        let label = match other {
            _ if is_of_file => "life",
            true => "other end",
            false => "same end",
        };
        let label = format!(" {} ", text::left(label, NAME, self.theme.charset));
        Line::from(vec![Span::styled(label, self.theme.note()), Span::styled(text, style)])
    }

    /// The event, its answer first.
    fn of_event(&self, id: Id, seen: &EventContext<'_>) -> Vec<Line<'static>> {
        let (result, failed) = (written(|out| seen.result(out), self.theme), seen.event.failed());
        let style = if failed { self.theme.failure() } else { Style::new() };
        let mut lines = Vec::new();
        match &seen.event.body {
            Body::Exit(_) if let Some(reason) = self.app.views.tree.cause_of(id, self.app.store()) => {
                let words = safe(&reason.with_name()[0], self.theme);
                let of_call = |seen: &EventContext<'_>| self.call(reason.id, seen, Some(&words));
                let call = self.app.store().get(reason.id).and_then(|call| call.with(self.app.world(), of_call));
                let [why, tried] = call.unwrap_or_default();
                lines.extend(why);
                lines.extend(self.by(seen));
                lines.extend(tried);
            }
            Body::Exit(exit) if failed => {
                lines.extend(self.without_cause(id, exit, seen.process.map(|process| process.key)));
            }
            Body::Lost(lost) => lines.extend(self.gap(lost, seen)),
            _ => {
                let [why, tried] = self.call(id, seen, None);
                lines.extend(why);
                lines.extend(tried);
            }
        }
        lines.extend(self.held(seen));
        match &seen.event.body {
            Body::Exec(exec) => {
                if !failed {
                    lines.extend(self.named_lines("ran", &self.place(seen, exec.exe, "exe"), Style::new()));
                }
                if exec.interp != exec.filename && !exec.interp.is_empty() {
                    lines.extend(self.named_lines("script by", &safe(exec.interp, self.theme), Style::new()));
                }
                let count = args(exec.argv).count();
                let note = match exec.argc() {
                    Some(all) if u64::from(all) == count as u64 && !exec.cut() => String::new(),
                    all => {
                        format!("({count} of {} arguments)", all.map_or_else(|| "?".to_owned(), |all| all.to_string()))
                    }
                };
                lines.extend(self.args(exec.argv, &note));
                lines.extend(self.stdio(exec));
            }
            Body::Exit(_) | Body::Lost(_) => {}
            body if let Some(names) = body.found() => {
                let path = self.place(seen, *names, "abs_path");
                let asked = || safe(body.sought().unwrap_or_default(), self.theme);
                let path = if path == "-" || path.starts_with('(') { asked() } else { path };
                let text = format!("{path}  {}{result}  {}", body.before_result(), self.value(seen, "flags"));
                lines.extend(self.named_lines("opened", &text, Style::new()));
            }
            // The line `tried` shows everything.
            _ if takes(seen.event.kind()) == Takes::Contents => {}
            body => {
                let detail = written(|out| seen.detail(out), self.theme);
                lines.extend(self.named_lines(seen.event.kind().name(), &detail, Style::new()));
                for (name, field) in [("path", "abs_path"), ("to", "new_abs_path")] {
                    let path = self.value(seen, field);
                    let is_new = body.paths().is_some() && path != "-" && !detail.contains(&path);
                    lines.extend(is_new.then(|| self.named_lines(name, &path, Style::new())).into_iter().flatten());
                }
                lines.extend(self.named_lines("result", &result, style));
            }
        }
        lines.extend(self.evicted(id));
        lines
    }

    /// Why a call failed, and what it tried. `words`: the answer if there is no better one.
    fn call(&self, id: Id, seen: &EventContext<'_>, words: Option<&str>) -> [Vec<Line<'static>>; 2] {
        let mut why = self.removed(id);
        let search = self.app.reasons.search(id).filter(|_| seen.event.failed());
        if let Some((search, dir)) = search.and_then(|search| Some((search, search.found.as_ref()?))) {
            let before = counted(search.places.saturating_sub(1) as u64, ["place", "places"]);
            let text = format!("{} found in {} after {before}", safe(&search.name, self.theme), safe(dir, self.theme));
            why.extend(self.named_lines("search", &text, self.theme.strong()));
        }
        why.extend(self.why(id, seen, words));
        let Some(path) = seen.event.body.sought().filter(|_| seen.event.failed()) else { return [why, Vec::new()] };
        let mut result = written(|out| seen.result(out), self.theme);
        let Some(search) = search.filter(|search| search.found.is_none() && search.places > 1) else {
            let errno = seen.event.body.ret().filter(|ret| *ret < 0).map(i32::saturating_neg);
            result.extend(errno.map(|errno| format!(" {}", why::error_text(errno))));
            let text = format!("{}  {result}", safe(path, self.theme));
            return [why, self.named_lines("tried", &text, Style::new())];
        };
        let so_far = if search.ended { "" } else { " so far" };
        let argv = seen.process.map_or(&b""[..], |process| &process.image.argv);
        let (name, places) = (safe(&included(&search.asked(), argv), self.theme), grouped(search.places as u64));
        let text = format!("{name} in {places} directories{so_far}  {result}");
        let mut tried = self.named_lines("tried", &text, Style::new());
        if self.app.detail.size == Some(Size::Full) {
            let mut places: Vec<_> = search.first.iter().map(|place| safe(&place.dir, self.theme)).collect();
            let more = search.places.saturating_sub(places.len());
            places.extend((more > 0).then(|| format!("and {} more", grouped(more as u64))));
            tried.extend(self.named_lines("in", &places.join(", "), Style::new()));
        } else if self.width >= 70 {
            self.at_end(&mut tried, &format!("{}: list", self.app.key_of(Action::Enter)));
        }
        [why, tried]
    }

    /// The processes that failed before a process exited, the one that made the failed call first.
    fn by(&self, seen: &EventContext<'_>) -> Vec<Line<'static>> {
        let tree = &self.app.views.tree;
        let exited = seen.process.and_then(|process| tree.process(process.key));
        let line = exited.map(|exited| tree.cause(&exited).1).unwrap_or_default();
        let name = |seen: &Seen<'_>| {
            let (pid, command) = (seen.process.key.tgid.0, safe(&seen.process.short_command(), self.theme));
            let status = seen.end.and_then(|end| end.status).map_or_else(String::new, ended);
            format!("{pid} {command}  {status}")
        };
        self.packed("by", line.iter().rev().map(name), self.theme.back())
    }

    /// Writes a remark at the right end of the last line, or below if there is no room.
    fn at_end(&self, lines: &mut Vec<Line<'static>>, remark: &str) {
        let used = lines.last().map_or(0, Line::width) + text::width(remark) + 1;
        match lines.last_mut().filter(|_| used + 2 <= self.width) {
            Some(line) => {
                line.push_span(Span::raw(" ".repeat(self.width - used)));
                line.push_span(Span::styled(remark.to_owned(), self.theme.quiet()));
            }
            None => lines.extend(self.named_lines("", remark, self.theme.quiet())),
        }
    }

    /// What is known about a failed exit without a cause.
    fn without_cause(&self, id: Id, exit: &Exit, process: Option<ProcessKey>) -> Vec<Line<'static>> {
        let mut signal = format!("{} ", ended(exit.record.status)).into_bytes();
        let who = match exit.ended() {
            Ended::Signal(_) if exit.by(&mut signal) => &safe(&signal, self.theme),
            Ended::Signal(_) => "a signal killed it",
            Ended::Code(127) => "a shell exits with 127 if it does not find a command",
            Ended::Code(_) => "no failed call explains this status",
        };
        let (app, quiet) = (self.app, self.theme.quiet());
        let mut lines = self.named_lines("why", who, self.theme.strong());
        for (at, line) in app.output.iter().flat_map(|output| output.telling(LAST)).enumerate() {
            lines.extend(self.named_lines(
                if at == 0 { "output" } else { "" },
                &safe(line.as_bytes(), self.theme),
                Style::new(),
            ));
        }
        let own = |stored: &Stored<'_>| process.is_some() && stored.process.map(|process| process.key) == process;
        let calls: Vec<_> =
            app.store().range(id.saturating_sub(limits::SEARCH_AHEAD)..id).rev().filter(own).take(LAST).collect();
        for (at, call) in calls.iter().rev().enumerate() {
            let mut text = format!("{} ", call.kind.name()).into_bytes();
            call.with(app.world(), |seen| {
                seen.result(&mut text);
                text.push(b' ');
                seen.detail(&mut text);
            });
            lines.extend(self.named_lines(if at == 0 { "last calls" } else { "" }, &safe(&text, self.theme), quiet));
        }
        let untraced = KindSet::OF_COMMAND.iter().filter(|kind| !app.is_traced(*kind));
        let untraced: Vec<_> = untraced.map(Kind::name).collect();
        if !untraced.is_empty() {
            let text = format!("{}; tracetui -- COMMAND traces all of these", untraced.join(","));
            lines.extend(self.named_lines("untraced", &text, quiet));
        }
        lines
    }

    /// The descriptors of a new program.
    fn stdio(&self, exec: &Exec<'_>) -> Vec<Line<'static>> {
        let known: Vec<_> = (0..STDIO).filter_map(|number| Some((number, exec.descriptor(number)?))).collect();
        let mut files: Vec<String> = match known.as_slice() {
            [(_, all), (_, out), (_, err)] if [out.same, err.same] == [Some(0); 2] => vec![self.descriptor(0, all)],
            known => known.iter().map(|(at, of)| format!("{} {}", NAMES[*at], self.descriptor(*at, of))).collect(),
        };
        files.extend(exec.fds.each().map(|(number, of)| format!("fd {number} {}", self.descriptor(number, &of))));
        self.packed("stdio", files, &format!(" {} ", self.theme.dot()))
    }

    /// The file of a descriptor.
    fn descriptor(&self, number: usize, of: &Descriptor<'_>) -> String {
        if let Some(same) = of.same.filter(|_| number > 0) {
            return format!("same as {}", NAMES[same]);
        }
        let path = of.path().map_or_else(String::new, |names| written(|out| names.write(out), self.theme));
        match (of.kind(), of.ino(), of.peer()) {
            _ if !path.is_empty() => path,
            (_, _, Some(peer)) => format!("socket {peer}"),
            _ if of.unix_peer().is_some() => written(|out| of.write(out), self.theme),
            (kind, Some(ino), _) => format!("{}:[{ino}]", kind.word()),
            (kind, ..) => kind.word().to_owned(),
        }
    }

    /// What was lost, why, when, and the remedy.
    fn gap(&self, lost: &Lost, seen: &EventContext<'_>) -> Vec<Line<'static>> {
        let (app, theme, plain) = (self.app, self.theme, Style::new());
        let count = gap::counted(lost.record.count, lost.of());
        let what = format!("{}{count}: {}", lost.record.at_most(), lost.cause.clause());
        let why = match lost.cause {
            lost::Cause::Ring => "the events arrived faster than the kernel's ring was read",
            lost::Cause::Probe => "the kernel did not run the probe, or there was no room for a connection",
            lost::Cause::Read => "they arrived, but this version cannot decode them",
        };
        let base = TimeBase { mode: TimeMode::Clock, zone: app.settings.zone, ..TimeBase::default() };
        // Whole times, at any width.
        let mut when = gap::bounds(lost, seen, &base, usize::MAX, theme);
        if lost.record.cpu != u32::MAX {
            when = format!("{when}, on CPU {}", lost.record.cpu);
        }
        let all = format!("{} shows all losses", app.key_of(Action::LossReport));
        let remedy = loss::remedy(lost.cause, &app.world().counters);
        [
            self.named_lines("lost", &what, theme.loss()),
            self.named_lines("why", why, plain),
            self.named_lines("when", &when, plain),
            self.named_lines("remedy", &format!("{remedy}; {all}"), theme.strong()),
        ]
        .concat()
    }

    /// How long COMMAND was held before it ran, if this event is its exit.
    fn held(&self, seen: &EventContext<'_>) -> Vec<Line<'static>> {
        let held = seen.event.body.exit().and(seen.process).map(|process| process.held_ns).filter(|held| *held > 0);
        let text = held.map(|held| format!("{} before its first exec, until the probes were attached", duration(held)));
        text.map(|text| self.named_lines("held", &text, self.theme.quiet())).unwrap_or_default()
    }

    /// The evicted opens counted in an event.
    fn evicted(&self, id: Id) -> Vec<Line<'static>> {
        let evicted = self.app.store().get(id).map_or(0, |stored| stored.evicted.into());
        if evicted == 0 {
            return Vec::new();
        }
        let text = format!("{} of this process", counted(evicted, ["open", "opens"]));
        self.named_lines("evicted", &text, self.theme.quiet())
    }

    fn value(&self, seen: &EventContext<'_>, name: &str) -> String {
        value_text(&crate::app::views::event_list::row::field(seen, name), self.theme)
    }

    /// `unlink by rm[411] 2.1 s before`.
    fn removed(&self, id: Id) -> Vec<Line<'static>> {
        let text = self.app.reasons.removed(id).map(|removed| safe(removed, self.theme));
        text.map_or_else(Vec::new, |text| self.named_lines("removed", &text, self.theme.strong()))
    }

    /// Why the call failed, and the evidence.
    fn why(&self, id: Id, seen: &EventContext<'_>, words: Option<&str>) -> Vec<Line<'static>> {
        let instead = words.map(|words| self.named_lines("why", words, self.theme.strong()));
        if !why::is_asked_of(seen) {
            return instead.unwrap_or_default();
        }
        let reasons = &self.app.reasons;
        let proven = why::proven(seen);
        let Some(answer) = reasons.answer(id).or(proven.as_ref()) else {
            let text = match (reasons.asks(id), self.app.replay.is_some()) {
                (true, _) => "looking it up",
                _ if instead.is_some() => return instead.unwrap_or_default(),
                // The search tells more.
                (false, true) if reasons.search(id).is_some() => return Vec::new(),
                (false, true) => "(not recorded; looked up only live)",
                (false, false) => "(unknown: its path or address was not read)",
            };
            return self.named_lines("why", text, self.theme.quiet());
        };
        let basis = match answer.basis {
            Basis::Proven => "proven".to_owned(),
            Basis::Checked(after) => format!("checked {} later", duration(after)),
            Basis::Nothing => String::new(),
        };
        let known = answer.cause != Cause::Unknown;
        let found = reasons.search(id).is_some_and(|search| search.found.is_some());
        let style = if known && !found { self.theme.strong() } else { Style::new() };
        let text = safe(&answer.text, self.theme);
        let text = if known { text } else { format!("unknown: {text}") };
        let mut lines = self.named_lines("why", &text, style);
        let place = answer.place.as_ref().filter(|_| self.app.detail.size == Some(Size::Full));
        let place = place.map(|place| format!("  ({})", safe(place, self.theme)));
        self.at_end(&mut lines, &format!("{basis}{}", place.unwrap_or_default()));
        lines
    }

    fn of_image(&self, process: &Process) -> Vec<Line<'static>> {
        let image = &process.image;
        let mut lines = Vec::new();
        if !image.exe.is_empty() && args(&image.argv).next() != Some(&image.exe) {
            lines.extend(self.named_lines("program", &safe(&image.exe, self.theme), Style::new()));
        }
        match image.argv.is_empty() {
            true => lines.extend(self.named_lines("args", &command(process, self.theme), Style::new())),
            false => lines.extend(self.args(&image.argv, "")),
        }
        lines
    }

    /// The event of the page, unless the page is about a process alone.
    fn event(&self) -> Option<Stored<'_>> {
        match self.app.detail.subject(self.app.events().selected()) {
            Some(Subject::Event(id)) => self.app.store().get(id),
            _ => None,
        }
    }

    fn of_process(&self, process: &Process) -> Vec<Line<'static>> {
        let world = self.app.world();
        // The ids of the event: a process may change its user without an exec.
        let of_event = self.event().map(|stored| stored.header());
        let (uid, gid) = of_event.map_or((process.uid, process.gid), |header| (header.uid, header.gid));
        let seen = self.app.views.tree.process(process.key);
        let last = seen.as_ref().map(|seen| seen.home).unwrap_or_default();
        let home = of_event.map_or(last, |header| Home { process: last.process, ..Home::of(&header) });
        let [user, group] = [(home.user(uid, world), uid.0), (home.group(gid, world), gid.0)]
            .map(|(name, id)| name.map_or_else(|| id.to_string(), str::to_owned));
        let user = if user == group { user } else { format!("{user}:{group}") };
        let cgroup = of_event.and_then(|header| world.cgroup(header.cgroup, process)).unwrap_or(&process.cgroup);
        let mut this = vec![self.end(process)];
        let cost = seen.as_ref().and_then(|seen| seen.cost());
        this.extend(cost.map(|cost| format!("cpu {}, {}", duration(cost.runtime), size(cost.max_rss))));
        this.extend(self.cwd(process));
        this.extend([safe(user.as_bytes(), self.theme), self.session()]);
        this.extend((cgroup != b"/").then(|| safe(cgroup, self.theme)));
        this.retain(|text| !text.is_empty());
        let family = Family::of(process, &world.processes);
        this.extend(self.started(&family));
        let mut lines = self.packed("this", this, &format!(" {} ", self.theme.dot()));
        let parents = family.ancestors.iter().map(|parent| safe(&parent.comm, self.theme));
        lines.extend(self.packed("parents", parents, self.theme.arrow()));
        let is_exec = self.event().is_some_and(|stored| stored.kind == Kind::Exec);
        lines.extend((!is_exec).then(|| self.of_image(process)).into_iter().flatten());
        lines
    }

    /// The session of an exec or an exit, its terminal, and who logged in: `1208 on pts/3, login alice`.
    fn session(&self) -> String {
        let of = |seen: &EventContext<'_>| {
            let session = session::of(seen)?;
            let on = session::tty(session).map(|tty| format!(" on {}", safe(tty, self.theme))).unwrap_or_default();
            let uid = session.login_uid;
            let is_known = session.known & known::LOGIN != 0 && uid.0 != u32::MAX;
            let login = if is_known {
                format!(", login {}", seen.user(uid).map_or_else(|| uid.0.to_string(), str::to_owned))
            } else {
                String::new()
            };
            Some(format!("session {}{on}{login}", session.id.0))
        };
        self.event().and_then(|stored| stored.with(self.app.world(), of).flatten()).unwrap_or_default()
    }

    /// The working directory: the event's if it has one, otherwise the one at the exec. A later chdir is unknown.
    fn cwd(&self, process: &Process) -> Option<String> {
        let at_event = self.event().and_then(|stored| {
            let body = stored.event().ok()?.body;
            let cwd = body.cwd().filter(|cwd| cwd.absent().is_none() && !cwd.bytes.is_empty())?;
            Some(format!("in {}", written(|out| cwd.write(out), self.theme)))
        });
        let at_start = || format!("began in {}", safe(&process.image.cwd, self.theme));
        at_event.or_else(|| (!process.image.cwd.is_empty()).then(at_start))
    }

    fn end(&self, process: &Process) -> String {
        let offset = self.app.world().clock_offset;
        let after = |status, time: BootNanos| {
            let lived = duration(process.ran_ns(time));
            format!("{} after {lived}, at {}", ended(status), clock(time.0, offset, self.app))
        };
        // The table keeps the latest that ended.
        let exit = self.app.detail.files.as_ref().and_then(|files| self.app.store().get(files.exit?));
        let exit = exit.and_then(|stored| Some((stored.event().ok()?.body.exit()?.record.status, stored.time)));
        match (self.app.world().processes.get(process.key).map(|entry| entry.end), exit) {
            (Some(Some(end)), _) => after(end.status, end.time),
            (None, Some((status, time))) => after(status, time),
            (None, None) => "ended; status no longer kept".to_owned(),
            (Some(None), _) => self.app.without_end().to_owned(),
        }
    }

    /// The processes that a process started: `started 2 gcc, sh, 1 failed`.
    fn started(&self, family: &Family<'_>) -> Option<String> {
        let mut names: Vec<(String, usize)> = Vec::new();
        for entry in &family.children {
            let name = safe(entry.process.name(), self.theme);
            match names.iter_mut().find(|(known, _)| *known == name) {
                Some((_, count)) => *count += 1,
                None => names.push((name, 1)),
            }
        }
        let mut parts: Vec<_> =
            names.into_iter().map(|(name, n)| if n > 1 { format!("{n} {name}") } else { name }).collect();
        parts.extend((family.more > 0).then(|| format!("{} more", grouped(family.more as u64))));
        let failed = family.children.iter().filter(|entry| entry.end.is_some_and(|end| end.status != 0)).count();
        parts.extend((failed > 0).then(|| format!("{failed} failed")));
        (!parts.is_empty()).then(|| format!("started {}", parts.join(", ")))
    }

    /// The path of a file. If the file is outside the caller's mount namespace, the path within its file system.
    fn place(&self, seen: &EventContext<'_>, names: Components<'_>, field: &str) -> String {
        match names.inside() {
            Some(_) => safe(&Value::Path(names).text().unwrap_or_default(), self.theme),
            None => self.value(seen, field),
        }
    }

    fn stack_of(&self, seen: &EventContext<'_>) -> Vec<Line<'static>> {
        match crate::app::views::event_list::row::field(seen, "stack") {
            Value::Stack(stack) => self.stack(&stack, NAME),
            _ => Vec::new(),
        }
    }
}
