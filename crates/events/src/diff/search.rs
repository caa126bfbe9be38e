//! Names that a process looked for in several directories: headers, libraries, modules.

use super::difference::{State, Topic, is_absent};
use super::names::leaf;
use super::strings::{StringTable, each};
use super::tree::Side;
use super::uses::{Did, Files, did};
use crate::limits;
use foldhash::{HashMap, HashSet};

/// The most components of a name that was looked for: `sys/types.h` has two.
const COMPONENTS: usize = 4;

/// A name that one run found elsewhere than the other, or only one.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) name: Vec<u8>,
    pub(super) topic: Topic,
    /// The results in both runs. A file that was found is the text.
    pub(super) states: [State; 2],
    /// The paths that were tried.
    pub(super) paths: Vec<u32>,
}

/// A file, and its use in A and B.
type File = (u32, [Option<Did>; 2]);

/// Finds the searches that explain these differing files. `failed`: the run in which more processes of the role failed. A name that
/// only one run looked for is only an explanation if it failed there.
pub(super) fn searches(differ: &[u32], opens: [&Files; 2], failed: Option<Side>, strings: &StringTable) -> Vec<Search> {
    let name = |path: u32| leaf(strings.get(path));
    let mut files: HashMap<&[u8], Vec<File>> = differ.iter().map(|path| (name(*path), Vec::new())).collect();
    each(opens, |path, a, b| {
        files.get_mut(name(path)).into_iter().for_each(|files| files.push((path, [a, b])));
    });
    let mut explained: HashSet<u32> = HashSet::default();
    let mut found = Vec::new();
    for path in differ {
        let same = &files[name(*path)];
        // A file that was looked for in one place only explains a failure.
        let may_explain = same.len() > 1 || failed.is_some();
        if !may_explain || same.len() > limits::DIFF_DIRECTORIES || explained.contains(path) {
            continue;
        }
        if let Some(search) = search(strings.get(*path), same, failed, strings) {
            explained.extend(&search.paths);
            found.push(search);
        }
    }
    found
}

/// The search that a path is from. Tries the last component as the name, then more of them: `types.h` may be found elsewhere, and
/// `sys/types.h` nowhere.
fn search(path: &[u8], files: &[File], failed: Option<Side>, strings: &StringTable) -> Option<Search> {
    let starts = (0..path.len()).rev().filter(|at| path[*at] == b'/').take(COMPONENTS);
    // Two files of which only the last component is known may have different names.
    let is_name = |at: usize, directories: usize| at == 0 || at == 1 && directories > 2;
    for (at, start) in starts.enumerate() {
        let ends = |(file, ..): &&File| strings.get(*file).ends_with(&path[start..]);
        let same: Vec<File> = files.iter().filter(ends).copied().collect();
        let [Some(a), Some(b)] = Side::BOTH.map(|side| place(&same, side)) else { continue };
        let in_vain = |side: Side| failed == Some(side) && is_name(at, same.len());
        let topic = match (&a, &b) {
            (State::Text(one), State::Text(other)) if one != other => Topic::Elsewhere,
            (State::Text(path), State::Failed { directories, .. })
            | (State::Failed { directories, .. }, State::Text(path))
                if *directories > 1 && !is_refused(*path, &same) =>
            {
                Topic::Search
            }
            (State::Absent, State::Failed { .. }) if in_vain(Side::B) => Topic::Sought,
            (State::Failed { .. }, State::Absent) if in_vain(Side::A) => Topic::Sought,
            _ => continue,
        };
        let paths = same.iter().map(|(path, ..)| *path).collect();
        return Some(Search { name: common_end(&same, strings), topic, states: [a, b], paths });
    }
    None
}

/// Whether one run got an error for a file that it did not look for elsewhere.
fn is_refused(path: u32, files: &[File]) -> bool {
    let refused = |did: Option<Did>| did.is_some_and(|did| !did.has(did::FOUND) && !is_absent(did.errno));
    files.iter().any(|(file, uses)| *file == path && uses.iter().any(|did| refused(*did)))
}

/// The result of a search; `None` if it found several files, a directory, or a file that it created.
fn place(files: &[File], side: Side) -> Option<State> {
    let mut place = State::Absent;
    for (path, did) in files.iter().filter_map(|(path, uses)| Some((*path, uses[side as usize]?))) {
        place = match (place, did.has(did::FOUND)) {
            (State::Text(_), true) => return None,
            (_, true) if did.has(did::WROTE | did::DIRECTORY) => return None,
            (_, true) => State::Text(path),
            (State::Absent, false) => State::of(Some(did)),
            (State::Failed { directories, errno }, false) => {
                let errno = if is_absent(errno) { did.errno } else { errno };
                State::Failed { directories: directories + 1, errno }
            }
            (found, false) => found,
        };
    }
    Some(place)
}

/// The components that all paths end with. A single path is its name.
fn common_end(files: &[File], strings: &StringTable) -> Vec<u8> {
    let mut paths = files.iter().map(|(path, ..)| strings.get(*path));
    let first = paths.next().unwrap_or_default();
    let mut length = first.len();
    for path in paths {
        let same =
            first[first.len() - length..].iter().rev().zip(path.iter().rev()).take_while(|(one, other)| one == other);
        length = same.count();
    }
    let end = &first[first.len() - length..];
    // A component must be whole.
    let cut = if length == first.len() { 0 } else { end.iter().position(|byte| *byte == b'/').map_or(0, |at| at + 1) };
    end[cut..].to_vec()
}
