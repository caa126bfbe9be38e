//! The terminal: set up for the dashboard, and restored on exit, on a panic and during a suspend.

use crate::command::outlet::{Inlet, Outlet, Patience};
use crate::command::relay::stop_job;
use crate::command::{say, signals};
use crate::limits;
use crossterm::event::{DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture};
use crossterm::terminal::{disable_raw_mode, enable_raw_mode};
use crossterm::{cursor, execute, queue, terminal};
use ratatui::backend::CrosstermBackend;
use ratatui::layout::{Rect, Size};
use ratatui::{Terminal, TerminalOptions, Viewport};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::stdio;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};

/// Whether the terminal is in use: a panic must restore it.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Whether a panic gave the terminal back: then nothing may be drawn any more.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// The output to the terminal while it is in use. A stalled terminal blocks only its thread.
static OUTLET: Mutex<Option<Arc<Outlet>>> = Mutex::new(None);

/// The terminal while the dashboard has it. Given back when dropped.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Canvas>>,
    outlet: Arc<Outlet>,
    mouse: Mouse,
}

/// Collects the output of a screen, and passes it on as a whole.
struct Canvas {
    collected: Vec<u8>,
    inlet: Inlet,
}

impl Canvas {
    fn new(outlet: &Outlet) -> Canvas {
        Canvas { collected: Vec::new(), inlet: outlet.inlet() }
    }
}

impl Write for Canvas {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.collected.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    /// Never fails: what ratatui does about an error when it is dropped is a message that panics where stderr is gone.
    /// [`Screen::draw`] says that the terminal has failed.
    fn flush(&mut self) -> io::Result<()> {
        if !self.collected.is_empty() {
            let _ = self.inlet.write_all(&self.collected);
            self.collected.clear();
        }
        Ok(())
    }
}

/// Whether the dashboard captures the mouse.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mouse {
    /// Not captured: the terminal can select text.
    #[default]
    Left,
    /// Captured: the wheel scrolls the list.
    Taken,
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn take(mouse: Mouse) -> io::Result<Screen> {
        restore_on_panic();
        let outlet = Arc::new(Outlet::to(stdio::stdout())?);
        *OUTLET.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&outlet));
        let terminal = enter(mouse, &mut Canvas::new(&outlet)).and_then(|()| terminal(&outlet));
        // Half taken is given back too.
        let terminal = terminal.inspect_err(|_| restore())?;
        Ok(Screen { terminal, outlet, mouse })
    }

    /// Whether the terminal has taken the last screen. Until then another one is not drawn: it would only wait too.
    pub(super) fn ready(&self) -> bool {
        !self.outlet.pending()
    }

    /// Waits until the terminal has taken something. Can be given up and called again.
    pub(super) async fn changed(&self) {
        self.outlet.changed().await;
    }

    /// For [`given_up`](Self::given_up).
    pub(super) fn patience(&self) -> Patience {
        Patience::new(&self.outlet)
    }

    /// Whether nothing more waits for the terminal, or nobody reads it: then what waits is given up.
    pub(super) fn given_up(&self, patience: &mut Patience) -> bool {
        let over = patience.over(&self.outlet);
        if over {
            self.outlet.abandon();
        }
        over || self.ready()
    }

    /// Draws, unless a panic gave the terminal back or the terminal is another job's.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut ratatui::Frame<'_>)) -> io::Result<()> {
        if !panicked() && in_foreground() {
            if !TAKEN.load(Ordering::SeqCst) {
                // A job that runs in the background already is not continued by fg(1).
                self.resume()?;
            }
            let size = bounded(size()?);
            if size != self.terminal.get_frame().area() {
                self.terminal.resize(size)?;
            }
            self.terminal.draw(draw)?;
        }
        self.outlet.failure().map_or(Ok(()), Err)
    }

    /// Has everything drawn anew. Not by `Terminal::clear`: that asks the terminal for the cursor's place, and the answer
    /// would go to the stream of keys.
    fn clear(&mut self) -> io::Result<()> {
        let mut canvas = Canvas::new(&self.outlet);
        execute!(canvas, terminal::Clear(terminal::ClearType::All))?;
        self.terminal = terminal(&self.outlet)?;
        Ok(())
    }

    /// Hands a sequence to the terminal.
    pub(super) fn send(&mut self, sequence: &[u8]) -> io::Result<()> {
        if self.outlet.full() {
            return Ok(());
        }
        self.outlet.inlet().write_all(sequence)
    }

    /// Gives the terminal back, stops the job, and takes the terminal again when the job is continued.
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
        enter(self.mouse, &mut Canvas::new(&self.outlet))?;
        self.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// A terminal whose whole screen is drawn on, as far as it is bounded.
fn terminal(outlet: &Outlet) -> io::Result<Terminal<CrosstermBackend<Canvas>>> {
    let backend = CrosstermBackend::new(Canvas::new(outlet));
    let viewport = Viewport::Fixed(bounded(size()?));
    Terminal::with_options(backend, TerminalOptions { viewport })
}

/// The size of the terminal. Asked of stdout: crossterm opens /dev/tty each time.
fn size() -> io::Result<Size> {
    match rustix::termios::tcgetwinsize(stdio::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => Ok(Size::new(size.ws_col, size.ws_row)),
        _ => terminal::size().map(Size::from),
    }
}

/// Columns and rows that are drawn on.
///
/// # Errors
/// If the size of the terminal cannot be read.
pub(super) fn window() -> io::Result<(u16, u16)> {
    size().map(bounded).map(|size| (size.width, size.height))
}

/// The part of a screen that is drawn on: a cell takes some 100 bytes, and a terminal may claim 65,535 columns and rows.
fn bounded(size: Size) -> Rect {
    let (columns, rows) = limits::SCREEN;
    Rect::new(0, 0, size.width.min(columns), size.height.min(rows))
}

/// Whether a panic, of any thread, gave the terminal back.
pub(super) fn panicked() -> bool {
    PANICKED.load(Ordering::SeqCst)
}

fn enter(mouse: Mouse, to: &mut impl Write) -> io::Result<()> {
    if TAKEN.swap(true, Ordering::SeqCst) {
        // Crossterm believes that the mode is raw still, and would leave it as a shell set it.
        disable_raw_mode()?;
    }
    enable_raw_mode()?;
    queue!(to, terminal::EnterAlternateScreen, cursor::Hide, EnableBracketedPaste)?;
    if mouse == Mouse::Taken {
        queue!(to, EnableMouseCapture)?;
    }
    to.flush()
}

/// Whether the terminal is this job's. If that is not known, it is.
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
    // The screen on its way goes first.
    let outlet = OUTLET.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(outlet) = &outlet {
        outlet.finish(signals::time_left(limits::PATIENCE), || true);
    }
    if outlet.is_none_or(|outlet| outlet.failure().is_none()) {
        let mut sequence = Vec::new();
        // A vector takes everything.
        let _ =
            queue!(sequence, DisableMouseCapture, DisableBracketedPaste, terminal::LeaveAlternateScreen, cursor::Show);
        say::write(stdio::stdout(), &sequence, || true);
    }
    let _ = disable_raw_mode();
}

/// Makes a panic restore the terminal before its message.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICKED.store(true, Ordering::SeqCst);
            restore();
            report(info);
        }));
    });
}

/// Whether the terminal on stdout is gone.
pub(super) fn hung_up() -> bool {
    // Errors and hang-ups are reported without being asked for.
    let mut entry = [PollFd::from_borrowed_fd(stdio::stdout(), PollFlags::empty())];
    retry_on_intr(|| poll(&mut entry, Some(&Timespec::default()))) == Ok(1)
}
