use super::*;
use std::collections::HashSet;

const LIVE: &[Scope] = &[None];

#[test]
fn keys_have_names_and_one_meaning_in_each_place() {
    let keymap = Keymap::default();
    for scope in Section::ALL.map(Section::scope) {
        let keys: Vec<_> = keymap.iter().filter(|b| b.section.scope() == scope).flat_map(|b| b.keys.iter()).collect();
        assert_eq!(keys.len(), keys.iter().collect::<HashSet<_>>().len());
    }
    let names: Vec<_> = keymap.iter().map(|binding| binding.action.name()).collect();
    assert_eq!(names.len(), names.iter().collect::<HashSet<_>>().len(), "{names:?}");
    assert!(keymap.iter().all(|binding| !binding.keys.is_empty()));
    // Keys of the detail pane go first while it is open.
    let keymap = Keymap::default();
    assert_eq!(keymap.lookup(key('u'), LIVE), Some(Action::OnlyUser));
    assert_eq!(keymap.lookup(key('u'), &[Some(Section::Detail), None]), Some(Action::ToParent));
    assert_eq!(keymap.lookup(key('j'), &[Some(Section::Detail), None]), Some(Action::Down));
    assert_eq!(keymap.lookup(f(2), LIVE), None);
    assert_eq!(keymap.lookup(f(9), LIVE), None);
    // Keys have the names that are printed on them.
    let keymap = Keymap::default();
    let names = |action| keymap.iter().find(|b| b.action == action).map(Binding::names);
    assert_eq!(names(Action::Quit).as_deref(), Some("q F10 Ctrl-C"));
    assert_eq!(names(Action::PageDown).as_deref(), Some("PgDn"));
    assert_eq!(names(Action::Pause).as_deref(), Some("Space"));
    // The name of a key is read as that key.
    for press in Keymap::default().iter().flat_map(|binding| binding.keys.iter()) {
        assert_eq!(press.name().parse(), Ok(*press), "{press:?}");
    }
    assert_eq!("Ctrl-d".parse(), Ok(ctrl('d')));
    assert_eq!("Ctrl-Space".parse(), Ok(ctrl(' ')));
    let words = "Ctrl- Meta-x F0 F13 space \u{1b} qq Ctrl-1 Ctrl-\u{e4} \u{202e} \u{301}";
    for unknown in words.split(' ').chain(["", " "]) {
        assert_eq!(unknown.parse::<Press>(), Err(KeyError::Unknown(unknown.to_owned())));
    }
    for (same, as_key) in [("Ctrl-I", "Tab"), ("Ctrl-m", "Enter"), ("Ctrl-[", "Esc")] {
        assert_eq!(same.parse::<Press>(), Err(KeyError::Same(same.to_owned(), as_key)));
    }
}

fn assign(keymap: &mut Keymap, assigned: &[(&str, &[&str])]) -> Result<(), (usize, String)> {
    let read = |(action, keys): &(&str, &[&str])| {
        let keys = keys.iter().map(|key| key.parse().expect("a key")).collect();
        (keymap.iter().find(|binding| binding.action.name() == *action).expect("an action").action, keys)
    };
    let assigned: Vec<_> = assigned.iter().map(read).collect();
    keymap.assign(&assigned).map_err(|error| (error.at, error.message))
}

#[test]
fn keys_can_be_assigned_and_a_refused_assignment_changes_nothing() {
    let mut keymap = Keymap::default();
    assert_eq!(assign(&mut keymap, &[("follow", &["Ctrl-F", "j"])]), Ok(()));
    assert_eq!(keymap.lookup(ctrl('f'), LIVE), Some(Action::Follow));
    assert_eq!(keymap.lookup(key('j'), LIVE), Some(Action::Follow));
    assert_eq!(keymap.lookup(key('F'), LIVE), None);
    assert_eq!(keymap.lookup(code(KeyCode::Down), LIVE), Some(Action::Down));
    assert_eq!((keymap.first(Action::Follow), keymap.first(Action::Down)), ("Ctrl-F".into(), "Down".into()));
    // Two that change places, and one that gives its key away.
    assert_eq!(assign(&mut keymap, &[("toggle-open", &["P"]), ("only-tree", &["O"])]), Ok(()));
    assert_eq!(keymap.lookup(key('P'), LIVE), Some(Action::Toggle(Kind::Open)));
    assert_eq!(keymap.lookup(key('O'), LIVE), Some(Action::OnlyTree));
    let keys: [(&str, &[&str]); 4] = [("time-mode", &[]), ("pause", &[]), ("play", &["t"]), ("toggle-fork", &["F2"])];
    assert_eq!(assign(&mut keymap, &keys), Ok(()));
    assert_eq!(keymap.first(Action::TimeMode), "-");
    // A refused assignment changes nothing.
    let mut keymap = Keymap::default();
    for (assigned, at, message) in [
        (&[("help", &["x"][..]), ("pause", &["x"])][..], 1, "`x` is assigned to both `help` and `pause`"),
        (&[("pause", &["F2", "F2"])], 0, "`F2` is listed twice"),
        (&[("up", &["F2"]), ("quit", &[])], 1, "no key would be left for `quit`"),
        (&[("pause", &["q", "F10", "Ctrl-C"])], 0, "no key would be left for `quit`"),
        (&[("help", &["s"])], 0, "no key would be left for `help`"),
        (&[("up", &["F2"]), ("play", &["F1", "?"])], 1, "no key would be left for `help`"),
    ] {
        let error = assign(&mut keymap, assigned).expect_err(message);
        assert_eq!(error.0, at, "{message}");
        assert!(error.1.starts_with(message), "{}", error.1);
    }
    assert_eq!(keymap.lookup(key('q'), LIVE), Some(Action::Quit));
    assert_eq!(keymap.lookup(key('p'), LIVE), Some(Action::OnlyPid));
    // A view may give a key of them another meaning as long as one is left.
    assert_eq!(assign(&mut keymap, &[("play", &["q"])]), Ok(()));
}
