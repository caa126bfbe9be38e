//! The table of kernel symbols beside blazesym's kernel resolver: `cargo bench --bench symbols [-- SECONDS]`, as root.
//!
//! It prints the time to build the table, relative to reading /proc/kallsyms alone; the memory for 200,000 symbols; the
//! time of a lookup; and how lookups fare for SECONDS (60) while BPF programs are loaded and unloaded, 1,000 a second
//! each.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "for whoever runs it")]

use blazesym::MaybeDefault;
use blazesym::symbolize::source::{Kernel, Source};
use blazesym::symbolize::{Input, Symbolized, Symbolizer};
use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tracetui_events::symbols::{CodeImage, ImageKind, SymbolChange, Symbols, Table};
use tracetui_host::kallsyms::{self, SymbolReader};
use tracetui_host::pace::Pieces;
use tracetui_shared::id::KernelAddr;
use tracetui_shared::time::BootNanos;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Symbols of the large table.
const LARGE: usize = 200_000;
const LOOKUPS: usize = 1 << 17;
/// Lookups whose time is taken together, since a clock takes half as long as a lookup.
const TOGETHER: usize = 32;
const NOW: BootNanos = BootNanos(1 << 60);

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    if let ["resident", tool, file] = words.as_slice() {
        return resident(tool, Path::new(file));
    }
    let dir = std::env::temp_dir().join(format!("tracetui-symbols-{}", std::process::id()));
    fs::create_dir(&dir)?;
    let large = dir.join("kallsyms");
    fs::write(&large, enlarged()?)?;
    build(&large)?;
    for tool in ["tracetui", "blazesym"] {
        Command::new(std::env::current_exe()?).arg("resident").arg(tool).arg(&large).status()?;
    }
    lookups(&large)?;
    fs::remove_dir_all(&dir)?;
    churn(Duration::from_secs(words.first().map_or(Ok(60), |seconds| seconds.parse())?))
}

/// /proc/kallsyms with as many symbols of modules as make [`LARGE`]. Each module has the names of a part of the kernel,
/// with another start.
fn enlarged() -> Result<Vec<u8>> {
    let mut text = fs::read("/proc/kallsyms")?;
    let is_text = |line: &&[u8]| line.len() > 19 && b"tTwW".contains(&line[17]);
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').filter(is_text).collect();
    let missing = LARGE.saturating_sub(lines.len());
    let mut added = Vec::new();
    let base = 0xffff_ffff_c030_0000u64;
    for (number, line) in lines.iter().cycle().skip(1000).take(missing).enumerate() {
        let module = number / 500;
        let address = base + number as u64 * 160 + module as u64 * 0x2000;
        let name = String::from_utf8_lossy(&line[19..]);
        let name =
            name.strip_prefix("__pfx_").map_or(format!("m{module}_{name}"), |name| format!("__pfx_m{module}_{name}"));
        writeln!(added, "{address:016x} t {name}\t[module_{module}]")?;
    }
    text.extend(added);
    Ok(text)
}

fn build(large: &Path) -> Result<()> {
    let mut times = [const { Vec::new() }; 4];
    for _ in 0..11 {
        times[0].push(timed(|| fs::read("/proc/kallsyms").map(|text| text.len())));
        times[1].push(timed(kallsyms::read));
        let text = fs::read(large)?;
        times[2].push(timed(|| table(&text)));
        times[3].push(timed(|| blaze(None, &[0xffff_ffff_8100_1000])));
    }
    let [read, ours, parsed, other] = times.map(median_ms);
    println!("read /proc/kallsyms             {read:8.1} ms");
    println!("read and build                  {ours:8.1} ms  {:.2} x", ours / read);
    println!("blazesym, first lookup          {other:8.1} ms  {:.2} x", other / read);
    println!("build {LARGE} symbols from text {parsed:8.1} ms");
    Ok(())
}

fn timed<T>(f: impl FnOnce() -> T) -> Duration {
    let began = Instant::now();
    let made = black_box(f());
    let took = began.elapsed();
    drop(made);
    took
}

fn median_ms(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}

fn table(text: &[u8]) -> Table {
    kallsyms::parse(text, b"").map(|(builder, _)| builder.build()).unwrap_or_default()
}

fn blaze(file: Option<PathBuf>, addresses: &[u64]) -> usize {
    let (symbolizer, source) = (Symbolizer::new(), kernel(file));
    let found = symbolizer.symbolize(&source, Input::AbsAddr(addresses)).unwrap_or_default();
    found.iter().filter(|found| matches!(found, Symbolized::Sym(_))).count()
}

fn kernel(file: Option<PathBuf>) -> Source<'static> {
    let kallsyms = file.map_or(MaybeDefault::Default, MaybeDefault::Some);
    Source::Kernel(Kernel { kallsyms, vmlinux: MaybeDefault::None, debug_syms: false, ..Kernel::default() })
}

/// Prints by how much a table of the symbols in a file grows the memory of this process.
fn resident(tool: &str, file: &Path) -> Result<()> {
    // As `main` does.
    tracetui_events::budget::give_back_when_freed();
    let before = rss_kib()?;
    let (symbols, bytes, after) = match tool {
        "tracetui" => {
            let table = table(&fs::read(file)?);
            let after = rss_kib()?;
            (table.len(), table.bytes(), after)
        }
        _ => {
            let (symbolizer, source) = (Symbolizer::new(), kernel(Some(file.to_owned())));
            let found = symbolizer.symbolize_single(&source, Input::AbsAddr(0xffff_ffff_8100_1000))?;
            black_box(found);
            (0, 0, rss_kib()?)
        }
    };
    let mib = |kib: f64| kib / 1024.0;
    println!(
        "resident, {tool:8} {:8.2} MiB  ({symbols} symbols, {:.2} MiB by count)",
        mib(after - before),
        mib(bytes as f64 / 1024.0)
    );
    Ok(())
}

/// Anonymous memory of this process, in KiB.
fn rss_kib() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no RssAnon")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn lookups(large: &Path) -> Result<()> {
    let SymbolChange::Read(snapshot) = kallsyms::read() else { return Err("the kernel hides its symbols".into()) };
    let mut symbols = Symbols::default();
    let addresses = addresses(&snapshot.table);
    symbols.apply(NOW, SymbolChange::Read(snapshot));
    let large_table = table(&fs::read(large)?);
    let large_addresses = self::addresses(&large_table);
    let mut name = Vec::new();
    println!("lookup with name                  median    99.9 %");
    print_lookups("tracetui, symbols at a time", &addresses, |address| {
        symbols.lookup(KernelAddr(address), NOW, &mut name).is_ok()
    });
    let mut name = Vec::new();
    print_lookups("tracetui, table of 200,000", &large_addresses, |address| {
        large_table.containing(address).map(|place| large_table.name(place.symbol, &mut name)).is_some()
    });
    print_lookups("the same without names", &large_addresses, |address| large_table.containing(address).is_some());
    for (name, file, addresses) in
        [("blazesym", None, &addresses), ("blazesym, 200,000", Some(large), &large_addresses)]
    {
        let (symbolizer, source) = (Symbolizer::new(), kernel(file.map(Path::to_owned)));
        print_lookups(name, addresses, |address| {
            matches!(symbolizer.symbolize_single(&source, Input::AbsAddr(address)), Ok(Symbolized::Sym(_)))
        });
    }
    Ok(())
}

/// Random addresses within random symbols.
fn addresses(table: &Table) -> Vec<u64> {
    let places: Vec<_> = table.iter().filter(|place| place.size > 0).collect();
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..LOOKUPS)
        .map(|_| {
            let place = places[random() as usize % places.len()];
            place.start + random() % place.size
        })
        .collect()
}

fn print_lookups(name: &str, addresses: &[u64], mut lookup: impl FnMut(u64) -> bool) {
    let mut found = 0;
    let mut times = Vec::new();
    for _ in 0..3 {
        for some in addresses.chunks_exact(TOGETHER) {
            let began = Instant::now();
            found += some.iter().filter(|address| lookup(black_box(**address))).count();
            times.push(began.elapsed().as_nanos() as f64 / TOGETHER as f64);
        }
    }
    times.sort_by(f64::total_cmp);
    let missed = times.len() * TOGETHER - found;
    let (median, high) = (times[times.len() / 2], times[times.len() * 999 / 1000]);
    println!("  {name:30} {median:7.0} ns {high:7.0} ns  {missed} not found");
}

/// Loads and unloads 1,000 programs a second, by reports made up here, while addresses are looked up; another thread loads
/// and unloads real ones as fast as the kernel allows. Checks each answer.
fn churn(duration: Duration) -> Result<()> {
    let (results, arrived) = mpsc::channel();
    let reader = SymbolReader::start(move |time, change| drop(results.send((time, change))))?;
    let (time, first) = arrived.recv()?;
    let SymbolChange::Read(snapshot) = first else { return Err("the kernel hides its symbols".into()) };
    let kernel = addresses(&snapshot.table);
    // What the same lookups take in a table that nothing changes, at the same moments: what is left is the machine's.
    let still = kallsyms::snapshot(&mut Pieces::new(None)).map_err(|_| "the kernel hides its symbols")?.table;
    let (mut still_times, mut still_name) = (Vec::new(), Vec::new());
    let mut symbols = Symbols::default();
    symbols.apply(time, SymbolChange::Read(snapshot));
    let stop = Arc::new(AtomicBool::new(false));
    let loader = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || load_for_real(&stop)
    });
    let (mut times, mut applying, mut failed, mut changes) = (Vec::new(), 0.0, 0u64, 0u64);
    let mut name = Vec::new();
    let began = Instant::now();
    for round in 0.. {
        let due = Duration::from_millis(round);
        if due >= duration {
            break;
        }
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        let now = BootNanos(time.0 + 1_000_000 * (round + 1));
        // The program of the round before goes, and another one takes its place.
        let image = |round: u64| CodeImage {
            address: KernelAddr(0xffff_ffff_c400_0000 + round / 2 % 64 * 256),
            length: 256,
            kind: ImageKind::Bpf,
            name: format!("bpf_prog_{round:016x}_sched_switch").into_bytes().into(),
        };
        let (gone, come) = (round.checked_sub(1).map(image), image(round));
        let before = thread_cpu();
        if let Some(gone) = gone {
            changes += 1;
            symbols.apply(now, SymbolChange::Unloaded(gone));
        }
        changes += 1;
        symbols.apply(now, SymbolChange::Loaded(come));
        applying += thread_cpu() - before;
        for number in 0..20 {
            // One of now, one of up to ten seconds ago, and some of the kernel itself.
            let back = number * 7919 % round.clamp(1, 10_000);
            let of = if number % 4 == 0 { Some(round - back) } else { None };
            let address = of.map_or(kernel[(round * 20 + number) as usize % LOOKUPS], |of| image(of).address.0 + 17);
            let at = BootNanos(of.map_or(now.0, |of| time.0 + 1_000_000 * (of + 1)));
            let started = Instant::now();
            let found = symbols.lookup(KernelAddr(address), at, &mut name);
            times.push(started.elapsed().as_nanos() as u64);
            let right = found.is_ok_and(|found| of.is_none_or(|of| *found.name == *image(of).name));
            failed += u64::from(!right);
            let started = Instant::now();
            still
                .containing(black_box(address))
                .into_iter()
                .for_each(|place| still.name(place.symbol, &mut still_name));
            still_times.push(started.elapsed().as_nanos() as u64);
        }
    }
    stop.store(true, Ordering::Relaxed);
    let real = loader.join().map_err(|_| "the loader failed")?;
    times.sort();
    still_times.sort();
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "churn of {seconds:.0} s: {:.0} changes/s, {:.0} real loads/s beside them",
        changes as f64 / seconds,
        real as f64 / seconds
    );
    println!("  applying them                  {:8.3} % of a core", applying / seconds * 100.0);
    println!("  lookups                        {:8}  {failed} wrong or without a symbol", times.len());
    println!("  median, 99.9 %                 {:8} ns {} ns", times[times.len() / 2], times[times.len() * 999 / 1000]);
    let (median, most) = (still_times[still_times.len() / 2], still_times[still_times.len() * 999 / 1000]);
    println!("  in a table that does not change {median:7} ns {most} ns");
    println!("  reads of /proc/kallsyms        {:8}  after the first", reader.reads() - 1);
    println!(
        "  images in memory               {:8}  {:.2} MiB with the table",
        symbols.images(),
        symbols.bytes() as f64 / (1 << 20) as f64
    );
    Ok(())
}

/// The processor time of this thread, seconds.
fn thread_cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Loads and unloads a program of two instructions, at most 1,000 times a second. Returns how often that succeeded.
fn load_for_real(stop: &AtomicBool) -> u64 {
    const PROG_LOAD: libc::c_long = 5;
    const SOCKET_FILTER: u32 = 1;
    // r0 = 0; exit
    let instructions: [u64; 2] = [0xb7, 0x95];
    let mut loaded = 0;
    let began = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let mut attr = [0u64; 16];
        attr[0] = u64::from(SOCKET_FILTER) | 2 << 32;
        attr[1] = instructions.as_ptr() as u64;
        attr[2] = c"GPL".as_ptr() as u64;
        // SAFETY: the kernel reads the attributes, the instructions and the license, all alive and of these sizes.
        let fd = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, attr.as_ptr(), size_of_val(&attr)) };
        if fd >= 0 {
            loaded += 1;
            // SAFETY: nobody else has this descriptor.
            unsafe { libc::close(fd as i32) };
        }
        std::thread::sleep(
            Duration::from_millis(loaded).saturating_sub(began.elapsed()).max(Duration::from_micros(50)),
        );
    }
    loaded
}
