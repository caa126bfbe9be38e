//! Files of the user who invoked sudo: where they are, and how they are used with that user's ids. Ids belong to a thread, so each act is
//! done by a thread that took them. Root's capabilities on files are lost with them.

use anyhow::{Context, Result, anyhow};
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use tokio::sync::oneshot;
use tracetui_events::limits;
use tracetui_host::confine::{FileAccess, enter_files, later_recordings};
use tracetui_host::invoker::Invoker;
use tracetui_live::NO_THREAD;

/// The home directory of this user. Under sudo, it is that of the user who typed sudo.
pub(super) fn own_home() -> Option<PathBuf> {
    home(Invoker::of_environment().ok()?.as_ref(), |name| std::env::var_os(name))
}

fn home(invoker: Option<&Invoker>, variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let home = match invoker {
        Some(invoker) => Some(PathBuf::from(&invoker.home)),
        None => variable("HOME").map(PathBuf::from),
    };
    home.filter(|home| home.is_absolute())
}

/// The path of a file of this user: below the directory in the variable `place[0]`, or below `place[1]` in the home directory. Under
/// sudo, a directory outside the home of the user who typed sudo belongs to another user.
pub(super) fn user_path(
    invoker: Option<&Invoker>,
    place: [&str; 3],
    variable: impl Fn(&str) -> Option<OsString>,
) -> Option<PathBuf> {
    let [directory, default, file] = place;
    let home = home(invoker, &variable);
    let own = |dir: &PathBuf| match (invoker, &home) {
        (Some(_), Some(home)) => dir.starts_with(home),
        (Some(_), None) => false,
        (None, _) => dir.is_absolute(),
    };
    let dir = variable(directory).map(PathBuf::from).filter(own);
    dir.or_else(|| Some(home?.join(default))).map(|dir| dir.join(file))
}

/// Runs `work` in a separate thread that took the ids of the user who typed sudo by `enter`. Without such a user, runs it here.
pub(super) fn as_user<T: Send + 'static>(
    invoker: Option<Invoker>,
    enter: fn(&Invoker) -> io::Result<()>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let Some(invoker) = invoker else { return Ok(work()) };
    let thread = std::thread::Builder::new().spawn(move || enter(&invoker).map(|()| work()));
    let done = thread.context(NO_THREAD)?.join().map_err(|_| anyhow!("the thread panicked"))?;
    done.context("cannot switch to the ids of the user")
}

/// The result of an act on files while the dashboard is shown. A replay has no opener.
pub(super) async fn act<T: Send + 'static>(
    opener: Option<&Opener>,
    act: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let Some(opener) = opener else {
        let done = tokio::time::timeout(limits::PATIENCE, tokio::task::spawn_blocking(act)).await;
        return done.map_err(|_| ErrorKind::TimedOut)?.map_err(io::Error::other)?;
    };
    opener.act(act).await
}

/// A job that runs with the ids of the user.
type Act = Box<dyn FnOnce() + Send>;

/// Creates, lists and opens files as the user who invoked sudo while a trace runs. The other threads may not do that any more.
#[derive(Debug)]
pub struct Opener {
    requests: mpsc::Sender<Act>,
    directory: &'static Path,
}

impl Opener {
    /// Starts the thread. Call it before privileges are dropped.
    pub(super) fn start() -> Result<Opener> {
        let invoker = Invoker::of_environment()?;
        let directory = later_recordings();
        let (requests, asked) = mpsc::channel::<Act>();
        let (ready, started) = mpsc::channel();
        let run = move || {
            let ids = enter_files(invoker.as_ref(), FileAccess::Create(&[directory]));
            let fit = ids.is_ok();
            // An error means that nobody waits any more.
            let _ = ready.send(ids);
            while fit && let Ok(act) = asked.recv() {
                act();
            }
        };
        std::thread::Builder::new().name("opener".into()).spawn(run).context(NO_THREAD)?;
        started.recv().context("the thread panicked")?.context("cannot switch to the ids of the user")?;
        Ok(Opener { requests, directory })
    }

    /// The path of a new recording with this name.
    pub(super) fn path(&self, name: &Path) -> PathBuf {
        if self.directory == Path::new(".") { name.to_owned() } else { self.directory.join(name) }
    }

    pub(super) async fn act<T: Send + 'static>(
        &self,
        act: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (answer, answered) = oneshot::channel();
        let gone = || io::Error::other("the thread that opens files has ended");
        // An error means that nobody waits any more.
        let act = move || drop(answer.send(act()));
        self.requests.send(Box::new(act)).map_err(|_| gone())?;
        let done = tokio::time::timeout(limits::PATIENCE, answered).await.map_err(|_| ErrorKind::TimedOut)?;
        done.map_err(|_| gone())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracetui_shared::id::{Gid, Uid};

    #[test]
    fn the_file_is_that_of_the_user_at_the_terminal() {
        let path = |invoker: Option<&Invoker>, home: Option<&str>, config: Option<&str>| {
            let variable = |name: &str| match name {
                "HOME" => home.map(OsString::from),
                "XDG_CONFIG_HOME" => config.map(OsString::from),
                other => panic!("{other}"),
            };
            user_path(invoker, ["XDG_CONFIG_HOME", ".config", "tracetui/config.toml"], variable)
                .map(|path| path.display().to_string())
        };
        let (uid, gid) = (Uid(1000), Gid(1000));
        let ana = &Invoker { uid, gid, groups: vec![gid.0], name: "ana".into(), home: "/home/ana".into() };
        for (invoker, home, config, want) in [
            (None, Some("/home/ana"), None, Some("/home/ana/.config/tracetui/config.toml")),
            (None, Some("/home/ana"), Some("/etc/ana"), Some("/etc/ana/tracetui/config.toml")),
            (None, Some("/home/ana"), Some("relative"), Some("/home/ana/.config/tracetui/config.toml")),
            (None, Some("/home/ana"), Some(""), Some("/home/ana/.config/tracetui/config.toml")),
            (None, None, Some("/etc/ana"), Some("/etc/ana/tracetui/config.toml")),
            (None, Some("relative"), None, None),
            (None, None, None, None),
            (Some(ana), Some("/root"), None, Some("/home/ana/.config/tracetui/config.toml")),
            (Some(ana), Some("/root"), Some("/root/.config"), Some("/home/ana/.config/tracetui/config.toml")),
            (Some(ana), Some("/root"), Some("/home/anabel"), Some("/home/ana/.config/tracetui/config.toml")),
            (Some(ana), None, Some("/home/ana/.conf"), Some("/home/ana/.conf/tracetui/config.toml")),
        ] {
            assert_eq!(path(invoker, home, config).as_deref(), want, "{home:?} {config:?}");
        }
    }
}
