//! The checks of a program that exec refused, and of its interpreters.

use super::*;

impl Walk<'_> {
    pub(super) fn program(&mut self, path: &[u8], dirfd: i32, depth: u32) -> Walked<Vec<Refusal>> {
        let start = self.start(path, dirfd)?;
        let Some(node) = self.walk(start, path, Last { follow: true, create: false })?.node else {
            return unsure(&[b"the path has no final component"]);
        };
        let out = self.executable(&node);
        if !out.is_empty() || self.doubt.is_some() {
            return Ok(out);
        }
        let Some(head) = node.head() else {
            self.doubt = Some([&node.path, b": cannot read its header".as_slice()].concat());
            return Ok(out);
        };
        let wrong = match image(&head) {
            FileHead::Script(interpreter) => return self.script(&node, &interpreter, depth),
            FileHead::Elf(elf) => return self.elf(&node, &elf),
            FileHead::BadScript => " starts with #! but names no interpreter",
            FileHead::BadElf => " has a damaged ELF header",
            FileHead::Empty => " is empty",
            FileHead::Text => " is a text file without a #! line",
            FileHead::Other => " is not in an executable format",
        };
        Ok(vec![Refusal::at(&node.path, libc::ENOEXEC, Cause::WrongFormat, wrong)])
    }

    /// The refusals to execute a file that do not depend on its content.
    fn executable(&mut self, node: &FileNode) -> Vec<Refusal> {
        let mut out = Vec::new();
        if !node.kind().is_file() {
            let text = format!(" is {}, not a program", kind_text(node.kind()));
            out.push(Refusal::at(&node.path, libc::EACCES, Cause::NotExecutable, &text));
            return out;
        }
        self.use_of(node, EXECUTE, &mut out);
        if node.is_on(mounted::NOEXEC) {
            let place = node.mount_point(&self.subject.dir).unwrap_or_else(|| node.path.clone());
            let also = out.first().map(|mode| [b"; also ", mode.text.as_slice()].concat()).unwrap_or_default();
            let text = [&place, b" is mounted noexec".as_slice(), &also].concat();
            out.insert(0, Refusal::new(libc::EACCES, Cause::Noexec, &place, text));
            // This check refuses regardless of the mode.
            self.doubt = None;
        }
        out
    }

    fn script(&mut self, script: &FileNode, interpreter: &[u8], depth: u32) -> Walked<Vec<Refusal>> {
        if depth >= SCRIPTS {
            let text = ": its interpreters are scripts, nested more than 5 deep";
            return Ok(vec![Refusal::at(&script.path, libc::ELOOP, Cause::Loop, text)]);
        }
        let refusals = self.program(interpreter, libc::AT_FDCWD, depth + 1);
        self.of_interpreter(script, interpreter, "#!", refusals)
    }

    /// Names the interpreter in its refusals.
    fn of_interpreter(
        &self,
        program: &FileNode,
        interpreter: &[u8],
        what: &str,
        refusals: Walked<Vec<Refusal>>,
    ) -> Walked<Vec<Refusal>> {
        let name = |refusal: Refusal| {
            let missing =
                refusal.errno == libc::ENOENT && matches!(refusal.cause, Cause::Missing | Cause::DanglingLink);
            let dos = if interpreter.ends_with(b"\r") { " (the #! line ends with CR LF)" } else { "" };
            let text = [
                &program.path,
                b": interpreter ".as_slice(),
                what.as_bytes(),
                interpreter,
                dos.as_bytes(),
                b": ",
                &refusal.text,
            ];
            let (cause, component) = match missing {
                true => (Cause::NoInterpreter, interpreter.to_vec()),
                false => (refusal.cause, refusal.component.clone()),
            };
            Refusal { cause, component, text: text.concat(), ..refusal }
        };
        match refusals {
            Ok(refusals) => Ok(refusals.into_iter().map(name).collect()),
            Err(Stop::Refused(refusal)) => Ok(vec![name(*refusal)]),
            Err(unsure) => Err(unsure),
        }
    }

    fn elf(&mut self, program: &FileNode, elf: &Elf) -> Walked<Vec<Refusal>> {
        let mut out = Vec::new();
        let wrong = |text: &str| Refusal::at(&program.path, libc::ENOEXEC, Cause::WrongFormat, text);
        if !matches!(elf.kind, 2 | 3) {
            out.push(wrong(" is an ELF file, but not an executable"));
            return Ok(out);
        }
        let here = Uname::read().machine;
        let its = machine(elf);
        if its != Some(here.as_str()) {
            let its = its.map_or_else(|| format!("machine {}", elf.machine), str::to_owned);
            out.push(wrong(&format!(" is a program for {its}; this machine is {here}")));
        }
        match &elf.interpreter {
            Interpreter::None => {}
            Interpreter::Unknown => {
                self.doubt = Some([&program.path, b": its ELF interpreter is unknown".as_slice()].concat());
            }
            Interpreter::Path(path) => {
                let refusals = self.loader(path);
                out.extend(self.of_interpreter(program, path, "", refusals)?);
            }
        }
        Ok(out)
    }

    /// The refusals of the interpreter of an ELF program, which is loaded instead of executed.
    fn loader(&mut self, path: &[u8]) -> Walked<Vec<Refusal>> {
        let start = self.start(path, libc::AT_FDCWD)?;
        let Some(node) = self.walk(start, path, Last { follow: true, create: false })?.node else {
            return unsure(&[b"the path has no final component"]);
        };
        let mut out = self.executable(&node);
        if out.is_empty()
            && let Some(head) = node.head()
            && !matches!(image(&head), FileHead::Elf(_))
        {
            out.push(Refusal::at(&node.path, libc::ELIBBAD, Cause::WrongFormat, " is not an ELF file"));
        }
        Ok(out)
    }
}
