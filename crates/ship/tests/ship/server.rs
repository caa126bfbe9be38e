//! Shipping to a server that fails in many ways.

use crate::common::{Place, text};
use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How an answer goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    None,
    /// 500, nothing is stored.
    Error,
    /// Stored, but the connection ends before the answer.
    Lost,
    /// Half of the request is read.
    Torn,
    /// 412, nothing is stored and nothing exists.
    Refused,
    /// 200 without an ETag, nothing is stored.
    Page,
    /// Stored, and answered after a second.
    Slow,
    /// An error with an endless body.
    Flood,
    /// A redirect to another server.
    Redirect,
}

#[derive(Default)]
struct Shared {
    objects: HashMap<String, Vec<u8>>,
    /// The faults of the next writes.
    faults: VecDeque<Fault>,
    puts: usize,
    /// How many requests get no answer at all.
    away: usize,
    /// Bytes of endless answers that were sent.
    flooded: usize,
}

pub(crate) struct Server {
    port: u16,
    shared: Arc<Mutex<Shared>>,
}

impl Server {
    fn start(faults: impl IntoIterator<Item = Fault>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Mutex::new(Shared { faults: faults.into_iter().collect(), ..Shared::default() }));
        let of = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let of = Arc::clone(&of);
                std::thread::spawn(move || while answer(&stream, &of).unwrap_or(false) {});
            }
        });
        Server { port, shared }
    }

    fn ship(&self, place: &Place, more: &[&str]) -> Output {
        self.command(place, &[&["--once", "--pause", "10ms"], more].concat()).output().expect("it runs")
    }

    pub(crate) fn command(&self, place: &Place, more: &[&str]) -> Command {
        let mut command = place.command("s3://bucket/fleet", more);
        self.with_environment(&mut command);
        command
    }

    fn with_environment<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.port)).env("RUST_BACKTRACE", "0");
        command.env("AWS_ACCESS_KEY_ID", "id").env("AWS_SECRET_ACCESS_KEY", "SECRET").env("AWS_REGION", "us-east-1")
    }

    /// Answers none of the next requests.
    pub(crate) fn away(requests: usize) -> Server {
        let server = Server::start([]);
        server.shared.lock().expect("the lock").away = requests;
        server
    }

    pub(crate) fn names(&self, end: &str) -> Vec<String> {
        let shared = self.shared.lock().expect("the lock");
        let mut names: Vec<_> = shared.objects.keys().filter(|name| name.ends_with(end)).cloned().collect();
        names.sort();
        names
    }
}

/// Answers one request. Returns whether the connection goes on.
fn answer(stream: &TcpStream, shared: &Mutex<Shared>) -> std::io::Result<bool> {
    let mut input = BufReader::new(stream);
    let (mut first, mut length, mut creates) = (String::new(), 0usize, false);
    input.read_line(&mut first)?;
    {
        let mut shared = shared.lock().expect("the lock");
        if shared.away > 0 {
            shared.away -= 1;
            return Ok(false);
        }
    }
    loop {
        let mut line = String::new();
        if input.read_line(&mut line)? <= 2 {
            break;
        }
        let line = line.to_ascii_lowercase();
        let value = |name: &str| line.strip_prefix(name).map(|value| value.trim().to_owned());
        length = value("content-length:").map_or(length, |value| value.parse().unwrap_or(0));
        creates |= value("if-none-match:").as_deref() == Some("*");
    }
    let mut words = first.split(' ');
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(false) };
    let path = &*decoded(path);
    if method == "PUT" {
        return put(stream, &mut input, path, length, creates, shared);
    }
    assert_eq!(method, "HEAD", "objects are not read");
    let exists = shared.lock().expect("the lock").objects.contains_key(path);
    reply(stream, if exists { "200 OK" } else { "404 Not Found" }, "", b"")
}

/// Replaces `%3D` and such.
fn decoded(text: &str) -> String {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        bytes.push(u8::from_str_radix(&piece[..2], 16).expect("hex digits"));
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    String::from_utf8(bytes).expect("text")
}

fn put(
    stream: &TcpStream,
    input: &mut impl std::io::Read,
    path: &str,
    length: usize,
    creates: bool,
    shared: &Mutex<Shared>,
) -> std::io::Result<bool> {
    let fault = {
        let mut shared = shared.lock().expect("the lock");
        shared.puts += 1;
        shared.faults.pop_front().unwrap_or(Fault::None)
    };
    let mut bytes = vec![0; if fault == Fault::Torn { length / 2 } else { length }];
    input.read_exact(&mut bytes)?;
    match fault {
        Fault::None | Fault::Slow | Fault::Lost => {}
        Fault::Torn => return Ok(false),
        Fault::Error => return reply(stream, "500 Internal Server Error", "", b"\x1b[31mred"),
        Fault::Refused => return reply(stream, "412 Precondition Failed", "", b""),
        Fault::Page => return reply(stream, "200 OK", "X: y\r\n", b"<html>log in</html>"),
        Fault::Redirect => return reply(stream, "307 Temporary Redirect", "Location: http://127.0.0.1:9/x\r\n", b""),
        Fault::Flood => {
            let mut out = stream;
            out.write_all(b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            let chunk = [b"10000\r\n", &*vec![b'x'; 0x10000], b"\r\n"].concat();
            for _ in 0..1_600 {
                out.write_all(&chunk)?;
                shared.lock().expect("the lock").flooded += chunk.len();
            }
            return Ok(false);
        }
    }
    let stored = {
        let mut shared = shared.lock().expect("the lock");
        let exists = shared.objects.contains_key(path);
        assert!(creates, "a write that could replace {path}");
        if !exists {
            shared.objects.insert(path.to_owned(), bytes);
        }
        !exists
    };
    match fault {
        Fault::Lost => return Ok(false),
        Fault::Slow => std::thread::sleep(Duration::from_secs(1)),
        _ => {}
    }
    let status = if stored { "200 OK" } else { "412 Precondition Failed" };
    reply(stream, status, "ETag: \"1\"\r\n", b"")
}

fn reply(mut stream: &TcpStream, status: &str, header: &str, body: &[u8]) -> std::io::Result<bool> {
    let etag = if header.is_empty() && status.starts_with('2') { "ETag: \"1\"\r\n" } else { "" };
    let last = "Last-Modified: Mon, 23 Nov 2026 18:00:00 GMT\r\n";
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{header}{etag}{last}\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat())?;
    Ok(true)
}

#[track_caller]
fn check(faults: &[Fault]) {
    let place = Place::with_parts(0..3);
    let server = Server::start(faults.iter().copied());
    let output = server.ship(&place, &[]);
    assert!(output.status.success(), "{faults:?}: {}", text(&output.stderr));
    assert_eq!((server.names(".parquet").len(), server.names(".json").len()), (3, 3), "{faults:?}");
    let said = text(&output.stderr);
    assert!(!said.contains('\u{1b}') && !said.contains("SECRET"), "{said}");
    assert!(said.contains("3 parts shipped"), "{said}");
}

#[test]
fn whatever_a_server_does_each_part_is_stored_once() {
    use Fault::*;
    // Without faults; then tried again; repeated whole; waited for; no loss; nothing goes elsewhere.
    check(&[]);
    check(&[Error, Error, Error, Error, Page]);
    check(&[Lost, Lost, None, Lost]);
    check(&[Torn, Torn, Torn, Torn]);
    check(&[Slow, Slow, Slow]);
    check(&[Refused, None, Refused]);
    check(&[Redirect]);
}

#[test]
fn an_endless_answer_is_read_up_to_a_bound() {
    let (place, server) = (Place::with_parts(0..1), Server::start([Fault::Flood]));
    assert!(server.ship(&place, &[]).status.success());
    // The rest is in buffers of the kernel.
    assert!(server.shared.lock().expect("the lock").flooded < 64 << 20);
}
