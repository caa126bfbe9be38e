//! Variables of the environment.

use super::*;
use crate::environment::{EnvMode, Keeper};
use std::mem::offset_of;
use tracetui_shared::record::exec::ExecRecord;

/// A run of make, which starts cc with these arguments and variables.
fn built(mode: EnvMode, make: &[&str], compilers: &[(&[&str], &[&str])]) -> Made {
    let mut made = Made::new("/w", 100, &["sh"]);
    made.exec_with(mode, 100, &["make"], make);
    // A process starts at its id, in nanoseconds.
    made.next = u32::try_from(made.maker.ns - made.maker.start_ns).expect("seconds");
    for (args, env) in compilers {
        let child = made.fork(100);
        made.exec_with(mode, child, args, env);
    }
    made
}

impl Made {
    fn exec_with(&mut self, mode: EnvMode, pid: u32, args: &[&str], env: &[&str]) {
        self.exec_of(pid, &format!("/usr/bin/{}", args[0]), args, |payload| {
            payload[offset_of!(ExecRecord, env_joined)] = 1;
            let keeper = Keeper::new(mode);
            env.iter().for_each(|variable| keeper.keep(variable.as_bytes(), payload));
        });
    }
}

const CC: &[&str] = &["cc", "x.c"];

#[test]
fn a_known_variable_is_reported_where_it_differs_first() {
    let run = |cflags: &'static str, home: &'static str| {
        let env = [cflags, home, "TERM=xterm", "EMPTY="];
        built(EnvMode::Values, &env, &[(CC, &env)])
    };
    check(run("CFLAGS=-O2", "HOME=/a"), run("CFLAGS=-O2", "HOME=/a"), &[]);
    let lines = ["env      make: CFLAGS: -O2 in A, -O2 -Werror in B", "env      make: HOME: /a in A, empty in B"];
    check(run("CFLAGS=-O2", "HOME=/a"), run("CFLAGS=-O2 -Werror", "HOME="), &lines);
    let other = |env: &[&str]| built(EnvMode::All, &["A=1"], &[(CC, env)]);
    check(other(&["A=1"]), other(&["A=1", "B=2"]), &["env      cc x.c: B: not set in A, 2 in B"]);
    check(other(&["A=1", "TERM=a"]), other(&["TERM=b"]), &["env      cc x.c: A: 1 in A, not set in B"]);
    // getenv(3) takes the first of a name.
    check(other(&["A=1"]), other(&["A=1", "A=2"]), &[]);
    // A variable and the arguments from it are lines.
    let run = |flags: &'static str| {
        let (option, env) = (&flags[7..], [flags]);
        built(EnvMode::All, &env, &[(&["cc", option, "x.c"], &env)])
    };
    let lines = ["argv     cc -O2 x.c: -O2 -> -O3", "env      make: CFLAGS: -O2 in A, -O3 in B"];
    check(run("CFLAGS=-O2"), run("CFLAGS=-O3"), &lines);
    // Unknown values do not differ.
    let run = |mode, env: &[&str]| built(mode, env, &[]);
    let lines = ["env      make: B: set in A, not set in B"];
    check(run(EnvMode::Names, &["A=1", "B=1"]), run(EnvMode::Names, &["A=2"]), &lines);
    check(run(EnvMode::Names, &["A=1"]), run(EnvMode::All, &["A=2"]), &[]);
    // The hashes of two recordings have different keys.
    check(run(EnvMode::Values, &["API_KEY=1"]), run(EnvMode::Values, &["API_KEY=1"]), &[]);
    check(run(EnvMode::Off, &[]), run(EnvMode::Off, &[]), &[]);
    // Not the same in all processes of a role.
    let varies = |values: [&'static str; 2]| {
        let env = values.map(|value| [value]);
        built(EnvMode::All, &[], &[(CC, &env[0]), (CC, &env[1])])
    };
    check(varies(["N=1", "N=2"]), varies(["N=2", "N=3"]), &[]);
    check(
        varies(["N=1", "N=2"]),
        built(EnvMode::All, &[], &[(CC, &[])]),
        &["exec     cc x.c: executed 2 times in A, once in B"],
    );
}
