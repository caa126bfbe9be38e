//! The terminal of the dashboard. It is restored on exit, on a panic and while tracetui is suspended.

use crate::command::terminal::raw_mode::restore_on_panic;
use crate::command::terminal::relay::stop_job;
use crate::command::writer_thread::{Patience, QueueWriter, WriterThread};
use crate::command::{messages, signals};
use crossterm::event::{DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture};
use crossterm::terminal::{disable_raw_mode, enable_raw_mode};
use crossterm::{cursor, execute, queue, terminal};
use ratatui::backend::CrosstermBackend;
use ratatui::layout::{Rect, Size};
use ratatui::{Terminal, TerminalOptions, Viewport};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::stdio;
use rustix::termios::{OptionalActions, tcgetattr, tcgetwinsize, tcsetattr};
use std::fs::File;
use std::io::{self, IsTerminal as _, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use tracetui_events::limits;

/// Whether the terminal is in use, so that a panic must restore it.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Whether a panic restored the terminal. Nothing may be drawn after that.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// The output to the terminal while it is in use. A stalled terminal blocks only its thread.
static WRITER: Mutex<Option<Arc<WriterThread>>> = Mutex::new(None);

/// The terminal while the dashboard has it. It is restored on drop.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Canvas>>,
    pub(super) writer: Arc<WriterThread>,
    mouse: Mouse,
}

/// Collects the output of a screen, and passes it on as a whole.
struct Canvas {
    collected: Vec<u8>,
    queue: QueueWriter,
}

impl Canvas {
    fn new(writer: &WriterThread) -> Canvas {
        Canvas { collected: Vec::new(), queue: writer.queue() }
    }
}

impl Write for Canvas {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.collected.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    /// Never fails. If ratatui meets an error while it is dropped, it prints a message, which panics if stderr is gone. [`Screen::draw`]
    /// reports that the terminal has failed.
    fn flush(&mut self) -> io::Result<()> {
        if !self.collected.is_empty() {
            let _ = self.queue.write_all(&self.collected);
            self.collected.clear();
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mouse {
    /// Not captured: the terminal can select text.
    #[default]
    Left,
    /// Captured: the wheel scrolls the list.
    Taken,
}

impl Screen {
    pub(super) fn open(mouse: Mouse) -> io::Result<Screen> {
        static ONCE: Once = Once::new();
        restore_on_panic(&ONCE, || {
            PANICKED.store(true, Ordering::SeqCst);
            restore();
        });
        let writer = Arc::new(WriterThread::to(stdio::stdout())?);
        *WRITER.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&writer));
        let terminal = enter(mouse, &mut Canvas::new(&writer)).and_then(|()| terminal(&writer));
        // Restore a terminal that was only partly set up too.
        let terminal = terminal.inspect_err(|_| restore())?;
        Ok(Screen { terminal, writer, mouse })
    }

    /// Whether the terminal has taken the last screen. Until then no other screen is drawn, since it would only wait too.
    pub(super) fn ready(&self) -> bool {
        !self.writer.pending()
    }

    /// Whether no output waits for the terminal, or nobody reads it. In the latter case, drops the waiting output.
    pub(super) fn given_up(&self, patience: &mut Patience) -> bool {
        let over = patience.over(&self.writer);
        if over {
            self.writer.abandon();
        }
        over || self.ready()
    }

    /// Draws, unless a panic restored the terminal or another job has it.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut ratatui::Frame<'_>)) -> io::Result<()> {
        if !panicked() && in_foreground() {
            if !TAKEN.load(Ordering::SeqCst) {
                // fg(1) does not send SIGCONT to a job that already runs in the background.
                self.resume()?;
            }
            let size = bounded(size()?);
            if size != self.terminal.get_frame().area() {
                self.terminal.resize(size)?;
            }
            self.terminal.draw(draw)?;
        }
        self.writer.failure().map_or(Ok(()), Err)
    }

    /// Makes the next draw redraw everything. Does not use `Terminal::clear`: it asks the terminal for the cursor position, and the
    /// answer would go to the stream of keys.
    fn clear(&mut self) -> io::Result<()> {
        let mut canvas = Canvas::new(&self.writer);
        execute!(canvas, terminal::Clear(terminal::ClearType::All))?;
        self.terminal = terminal(&self.writer)?;
        Ok(())
    }

    pub(super) fn send(&mut self, sequence: &[u8]) -> io::Result<()> {
        if self.writer.full() {
            return Ok(());
        }
        self.writer.queue().write_all(sequence)
    }

    /// Restores the terminal, stops the job, and sets up the terminal again when the job continues.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        restore();
        stop_job(libc::SIGTSTP);
        self.resume()
    }

    /// Sets up the terminal again, in any state. A job in the background waits until it is in the foreground, which
    /// continues it once more.
    pub(super) fn resume(&mut self) -> io::Result<()> {
        if !in_foreground() {
            return Ok(());
        }
        enter(self.mouse, &mut Canvas::new(&self.writer))?;
        self.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// A ratatui terminal for the whole screen, up to the bounds of [`bounded`].
fn terminal(writer: &WriterThread) -> io::Result<Terminal<CrosstermBackend<Canvas>>> {
    let backend = CrosstermBackend::new(Canvas::new(writer));
    let viewport = Viewport::Fixed(bounded(size()?));
    Terminal::with_options(backend, TerminalOptions { viewport })
}

/// The size of the terminal on stdout. A terminal without one, such as a serial line, has that of COLUMNS and LINES, or 80 x 24.
fn size() -> io::Result<Size> {
    let size = tcgetwinsize(stdio::stdout())?;
    let or = |size: u16, name: &str, usual| match size {
        0 => std::env::var(name).ok().and_then(|text| text.parse().ok()).filter(|size| *size > 0).unwrap_or(usual),
        size => size,
    };
    Ok(Size::new(or(size.ws_col, "COLUMNS", 80), or(size.ws_row, "LINES", 24)))
}

/// Checks that the terminal can show the dashboard and has keys, before anything is traced.
pub(in crate::command) fn check() -> anyhow::Result<()> {
    let term = std::env::var_os("TERM").unwrap_or_default();
    if term == "dumb" || term == "unknown" {
        anyhow::bail!(
            "the dashboard cannot be drawn on this terminal (TERM={}); tracetui print writes the events as lines",
            term.display()
        );
    }
    Ok(keys().map(drop)?)
}

/// The terminal that keys come from, if it is not stdin. crossterm makes the same choice.
pub(super) fn keys() -> io::Result<Option<File>> {
    if io::stdin().is_terminal() {
        return Ok(None);
    }
    // The kind of error would look like the end of the terminal.
    let opened = File::open("/dev/tty");
    opened.map(Some).map_err(|error| io::Error::other(format!("no terminal for keys: /dev/tty: {error}")))
}

/// The columns and rows that the dashboard draws on.
pub(super) fn window() -> io::Result<(u16, u16)> {
    size().map(bounded).map(|size| (size.width, size.height))
}

/// The part of a screen that the dashboard draws on. A cell takes some 100 bytes, and a terminal may claim 65,535 columns and rows.
fn bounded(size: Size) -> Rect {
    let (columns, rows) = limits::SCREEN;
    Rect::new(0, 0, size.width.min(columns), size.height.min(rows))
}

pub(super) fn panicked() -> bool {
    PANICKED.load(Ordering::SeqCst)
}

fn enter(mouse: Mouse, to: &mut impl Write) -> io::Result<()> {
    if TAKEN.swap(true, Ordering::SeqCst) {
        // crossterm believes that the mode is still raw, and would leave it as a shell set it. The mode is never cooked in between: a
        // Ctrl-C that arrives then would be a signal.
        let mut modes = tcgetattr(stdio::stdout())?;
        modes.make_raw();
        tcsetattr(stdio::stdout(), OptionalActions::Now, &modes)?;
    } else {
        enable_raw_mode()?;
    }
    queue!(to, terminal::EnterAlternateScreen, cursor::Hide, EnableBracketedPaste)?;
    if mouse == Mouse::Taken {
        queue!(to, EnableMouseCapture)?;
    }
    to.flush()
}

/// Whether this job has the terminal; `true` if that is not known.
pub(super) fn in_foreground() -> bool {
    // SAFETY: both take numbers and give numbers.
    let (front, own) = unsafe { (libc::tcgetpgrp(libc::STDOUT_FILENO), libc::getpgrp()) };
    front < 0 || front == own
}

/// Restores the terminal if it is in use. Errors are ignored: it may be closed or stalled.
fn restore() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    // Write the pending screen first.
    let writer = WRITER.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(writer) = &writer {
        writer.finish(signals::time_left(limits::PATIENCE), || true);
    }
    if writer.is_none_or(|writer| writer.failure().is_none()) {
        let mut sequence = Vec::new();
        // A vector takes everything.
        let _ =
            queue!(sequence, DisableMouseCapture, DisableBracketedPaste, terminal::LeaveAlternateScreen, cursor::Show);
        messages::write(stdio::stdout(), &sequence, || true);
    }
    let _ = disable_raw_mode();
}

pub(super) fn hung_up() -> bool {
    // poll(2) reports errors and hang-ups even if it is not asked for them.
    let mut entry = [PollFd::from_borrowed_fd(stdio::stdout(), PollFlags::empty())];
    retry_on_intr(|| poll(&mut entry, Some(&Timespec::default()))) == Ok(1)
}
