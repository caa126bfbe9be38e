//! The terminal as the dashboard takes it and gives it back: on leaving, on a panic, around a stop.

use crossterm::terminal::{disable_raw_mode, enable_raw_mode};
use crossterm::{cursor, execute, terminal};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use std::io::{self, Stdout, Write};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the terminal is ours: what a panic has to give back.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Whether a panic gave the terminal back: then nothing may be drawn any more.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// The terminal while the dashboard has it. Given back when dropped.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    mouse: Mouse,
}

/// Whether the dashboard takes the mouse.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mouse {
    /// It is left to the terminal: selecting text works as ever.
    #[default]
    Left,
    /// Its wheel moves in the list.
    Taken,
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn take(mouse: Mouse) -> io::Result<Screen> {
        restore_on_panic();
        let terminal = enter(mouse).and_then(|()| Terminal::new(CrosstermBackend::new(io::stdout())));
        // Half taken is given back too.
        let terminal = terminal.inspect_err(|_| restore())?;
        Ok(Screen { terminal, mouse })
    }

    /// Draws, unless a panic gave the terminal back or the terminal is another job's.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut ratatui::Frame<'_>)) -> io::Result<()> {
        if !panicked() && in_foreground() {
            self.terminal.draw(draw)?;
        }
        Ok(())
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> io::Result<(u16, u16)> {
        self.terminal.size().map(|size| (size.width, size.height))
    }

    /// Has everything drawn anew. Not by `Terminal::clear`: that asks the terminal for the cursor's place, and the answer
    /// would go to the stream of keys.
    fn clear(&mut self) -> io::Result<()> {
        execute!(io::stdout(), terminal::Clear(terminal::ClearType::All))?;
        self.terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
        Ok(())
    }

    /// Hands a sequence to the terminal.
    pub(super) fn send(&mut self, sequence: &[u8]) -> io::Result<()> {
        let mut out = io::stdout();
        out.write_all(sequence)?;
        out.flush()
    }

    /// Gives the terminal back, stops the job, and takes the terminal again when the job is continued.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        restore();
        stop_job();
        self.resume()
    }

    /// Takes the terminal again, in whatever state somebody else left it. A job that goes on in the background waits
    /// until it is brought to the front, which continues it once more.
    pub(super) fn resume(&mut self) -> io::Result<()> {
        if !in_foreground() {
            return Ok(());
        }
        enter(self.mouse)?;
        self.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Whether a panic, of any thread, gave the terminal back.
pub(super) fn panicked() -> bool {
    PANICKED.load(Ordering::SeqCst)
}

fn enter(mouse: Mouse) -> io::Result<()> {
    if TAKEN.swap(true, Ordering::SeqCst) {
        // Crossterm believes that the mode is raw still, and would leave it as a shell set it.
        disable_raw_mode()?;
    }
    enable_raw_mode()?;
    execute!(io::stdout(), terminal::EnterAlternateScreen, cursor::Hide)?;
    if mouse == Mouse::Taken {
        execute!(io::stdout(), crossterm::event::EnableMouseCapture)?;
    }
    Ok(())
}

/// Whether the terminal is this job's. One that cannot tell is.
fn in_foreground() -> bool {
    // SAFETY: both take numbers and give numbers.
    let (front, own) = unsafe { (libc::tcgetpgrp(libc::STDOUT_FILENO), libc::getpgrp()) };
    front < 0 || front == own
}

/// Gives the terminal back if it is ours. What fails cannot be helped: it may be gone.
fn restore() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(io::stdout(), crossterm::event::DisableMouseCapture);
        let _ = execute!(io::stdout(), terminal::LeaveAlternateScreen, cursor::Show);
        let _ = disable_raw_mode();
    }
}

/// Has a panic give the terminal back before it is told about.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICKED.store(true, Ordering::SeqCst);
            restore();
            tell(info);
        }));
    });
}

/// Stops the process group as Ctrl-Z in a cooked terminal does: the shell sees the whole job stopped, sudo included.
fn stop_job() {
    // SAFETY: the zeroed sigaction is SIG_DFL with no flags and an empty mask; both pointers are to live locals, and
    // the handler that is put back is the one that was there. kill takes no pointers.
    unsafe {
        let default: libc::sigaction = std::mem::zeroed();
        let mut ours: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGTSTP, &default, &mut ours);
        libc::kill(0, libc::SIGTSTP);
        libc::sigaction(libc::SIGTSTP, &ours, std::ptr::null_mut());
    }
}
