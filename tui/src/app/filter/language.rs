//! The filter language of the dashboard, which also has the titles of its columns.

use tracetui_events::enrich::World;
use tracetui_events::filter::{Filter, FilterError};

/// Column titles of the dashboard that are not fields, each with the equivalent field. On the command line they are errors.
const TITLES: [(&str, &str); 3] = [("errno", "err"), ("command", "arg"), ("lived", "dur")];

/// The fields that compare ids of the host.
pub(crate) const HOST_IDS: [&str; 10] =
    ["pid", "tid", "ppid", "tree", "session", "old_tid", "child_pid", "killed_by.pid", "closer.pid", "peer.pid"];

/// Why they are refused in another pid namespace: an id typed there is one of that namespace.
pub(crate) const INNER_ID: &str =
    "use ns_pid=ID: tracetui runs in a pid namespace of its own, and this compares ids of the host";

/// Parses an expression of the filter language. Column titles are read as fields, and the parts of the filter contain the fields.
pub(crate) fn parse(text: &str, world: &World) -> Result<Filter, FilterError> {
    let mut strict = text.to_owned();
    // The ends of the replacements in `strict`, and how much longer each original was.
    let mut replaced: Vec<(usize, isize)> = Vec::new();
    let error = loop {
        match Filter::parse(&strict, world) {
            Ok(filter) => return Ok(filter),
            Err(error) => match field_of_title(&strict, &error).filter(|_| replaced.len() < REPLACED) {
                Some(field) => {
                    strict.replace_range(error.at.clone(), field);
                    replaced.push((error.at.start + field.len(), error.at.len() as isize - field.len() as isize));
                }
                None => break error,
            },
        }
    };
    let typed = |at: usize| {
        let longer = replaced.iter().filter(|(end, _)| *end <= at).map(|(_, longer)| longer);
        at.saturating_add_signed(longer.sum()).min(text.len())
    };
    Err(FilterError { at: typed(error.at.start)..typed(error.at.end), ..error })
}

/// The maximum number of titles in a filter.
const REPLACED: usize = 16;

/// The field meant, if the error is about a title.
fn field_of_title(text: &str, error: &FilterError) -> Option<&'static str> {
    let written = text.get(error.at.clone()).filter(|_| error.message.starts_with("unknown field"))?;
    TITLES.iter().find(|(title, _)| title.eq_ignore_ascii_case(written)).map(|(_, field)| *field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type_is_read_as_the_strict_form() {
        let world = World::default();
        for (typed, strict) in [
            ("comm = gcc , cc1", &["comm=gcc,cc1"][..]),
            ("comm==gcc && err", &["comm=gcc", "err"]),
            ("comm=gcc AND pid != 7", &["comm=gcc", "pid!=7"]),
            ("comm=gcc || comm=cc1", &["comm=gcc or comm=cc1"]),
            ("COMM=gcc", &["comm=gcc"]),
            ("user=0 file=/a exit=1 name=x", &["uid=0", "path=/a", "exit_code=1", "comm=x"]),
            ("result=ok DETAIL~a", &["result=ok", "detail~a"]),
            ("errno=ENOENT", &["err=ENOENT"]),
            ("ERRNO == ENOENT,EACCES && command=-c", &["err=ENOENT,EACCES", "arg=-c"]),
            ("not (lived > 2s or command~^a)", &["not (dur>2s or arg~^a)"]),
            // As values and words they keep their own meaning.
            ("comm=command errno", &["comm=command", "errno"]),
        ] {
            let parts = parse(typed, &world).map(|filter| filter.parts());
            let strict: Vec<_> = strict.iter().map(|part| (*part).to_owned()).collect();
            assert_eq!(parts, Ok(strict), "{typed}");
        }
        // An error is where it was typed.
        let world = World::default();
        let many = "command=a ".repeat(REPLACED + 1);
        for (typed, wrong) in [
            ("errno=ENOENTT", "ENOENTT"),
            ("command=a foo=1", "foo"),
            ("foo=1 command=a", "foo"),
            ("pid=x command=a errno=EPERM", "x"),
            ("errno=EPERM command=a lived>1y2 pid=1", "1y2"),
            ("errno=", ""),
            ("err=command", "command"),
            (&many, "command"),
        ] {
            assert_eq!(typed.get(parse(typed, &world).expect_err(typed).at), Some(wrong), "{typed}");
        }
    }
}
