//! Where a process runs, by the path of its cgroup: the unit, the container and the pod that the path names.
//!
//! Whoever may write to a directory of the hierarchy can create a cgroup with any name. The part of a path up to the
//! first unit is the system manager's. What follows is a claim: [`Unit`] therefore keeps both apart, and a container
//! is shown only if the trace has checked it ([`frame::host::Container`](crate::frame::host::Container)).

/// The longest name of a unit in systemd (`UNIT_NAME_MAX`).
const UNIT_MAX: usize = 255;

/// The types of units that have a cgroup of their own.
const WITH_CGROUP: [&[u8]; 5] = [b".service", b".scope", b".socket", b".mount", b".swap"];

const SLICE: &[u8] = b".slice";

/// A systemd unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unit<'a> {
    /// The unit of the system manager, or the container, whose inside has this unit. `None` if it is a unit of the
    /// system manager itself.
    pub within: Option<&'a [u8]>,
    /// The name as `systemctl` shows it, with its escapes (`\x2d`).
    pub name: &'a [u8],
}

impl Unit<'_> {
    /// Appends `within/name`, or the name. No name of a unit contains a slash.
    pub fn write(&self, out: &mut Vec<u8>) {
        if let Some(within) = self.within {
            out.extend_from_slice(within);
            out.push(b'/');
        }
        out.extend_from_slice(self.name);
    }
}

/// What runs containers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Runtime {
    Docker,
    Containerd,
    Crio,
    Podman,
    /// systemd-nspawn, or what else registers machines with systemd-machined.
    Machine,
    /// Some runtime of Kubernetes: the path has an id alone.
    Kubernetes,
}

/// A container that a path names, or a pod without a container.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ContainerPath<'a> {
    /// The path up to the container's own cgroup.
    pub path: &'a [u8],
    pub runtime: Runtime,
    /// As the path has it; empty for a pod without a container. Of a machine, the name with the escapes of systemd.
    pub id: &'a [u8],
    /// The uid of the pod as the path has it, perhaps with `_` for `-`. Empty outside Kubernetes.
    pub pod: &'a [u8],
}

impl ContainerPath<'_> {
    /// The path of the cgroup in which the container's was created. Its owner has chosen the name.
    pub fn parent(&self) -> &[u8] {
        let end = memchr::memrchr(b'/', self.path).unwrap_or(0);
        self.path.get(..end).unwrap_or_default()
    }

    /// The uid of the pod, as Kubernetes writes it.
    pub fn pod_uid(&self) -> Vec<u8> {
        self.pod.iter().map(|b| if *b == b'_' { b'-' } else { *b }).collect()
    }

    /// The id, without the escapes of systemd.
    pub fn plain_id(&self) -> Vec<u8> {
        if self.runtime == Runtime::Machine { unescape(self.id) } else { self.id.to_vec() }
    }
}

/// The innermost unit of a path. Units of the system manager come first, below slices only. A unit further inside is
/// one of another manager: of a user, or in a container.
pub fn unit(path: &[u8]) -> Option<Unit<'_>> {
    let mut names = components(path).map(|(_, name)| name).peekable();
    let mut slice = None;
    while let Some(name) = names.next_if(|name| is_slice(name)) {
        slice = Some(name);
    }
    let own = names.next_if(|name| has_cgroup(name));
    let (mut within, mut inner) = (own, None);
    for name in names {
        if has_cgroup(name) {
            inner = Some(name);
        } else if own.is_none() && inner.is_none() && !is_slice(name) {
            within = Some(name);
        }
    }
    match (own, inner) {
        (_, Some(name)) => Some(Unit { within, name: plain(name) }),
        (Some(name), None) => Some(Unit { within: None, name: plain(name) }),
        (None, None) => slice.map(|name| Unit { within: None, name: plain(name) }),
    }
}

/// The outermost container of a path; without one, the pod. Further inside, root of the container chose the names, and
/// could have chosen those of other containers.
pub fn container(path: &[u8]) -> Option<ContainerPath<'_>> {
    let mut pod: (&[u8], usize) = (b"", 0);
    let (mut grandparent, mut parent): (&[u8], &[u8]) = (b"", b"");
    let mut names = components(path);
    while let Some((end, name)) = names.next() {
        if let Some(uid) = pod_of(name, parent, grandparent) {
            pod = (uid, end);
        }
        if let Some((runtime, id)) = id_of(name, parent) {
            // systemd-nspawn itself runs in this cgroup of its machine.
            let is_inside = runtime != Runtime::Machine || names.next().is_none_or(|(_, next)| next != b"supervisor");
            let pod = pod_in(name).unwrap_or(pod.0);
            return is_inside.then_some(ContainerPath { path: path.get(..end).unwrap_or(path), runtime, id, pod });
        }
        (grandparent, parent) = (parent, name);
    }
    let path = path.get(..pod.1).unwrap_or(path);
    (!pod.0.is_empty()).then_some(ContainerPath { path, runtime: Runtime::Kubernetes, id: b"", pod: pod.0 })
}

/// The components of a path, each with the offset of its end.
fn components(path: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut end = 0;
    path.split(|b| *b == b'/').filter_map(move |name| {
        let at = end + name.len();
        end = at + 1;
        (!name.is_empty()).then_some((at, name))
    })
}

/// The container that a cgroup with this name belongs to, below a parent.
fn id_of<'a>(name: &'a [u8], parent: &[u8]) -> Option<(Runtime, &'a [u8])> {
    const PREFIXES: [(&[u8], Runtime); 5] = [
        (b"docker-", Runtime::Docker),
        (b"cri-containerd-", Runtime::Containerd),
        (b"nerdctl-", Runtime::Containerd),
        (b"crio-", Runtime::Crio),
        (b"libpod-", Runtime::Podman),
    ];
    let scope = name.strip_suffix(b".scope");
    let stem = scope.unwrap_or(name);
    let prefixed = PREFIXES.iter().find_map(|(prefix, runtime)| Some((*runtime, stem.strip_prefix(*prefix)?)));
    if let Some(found) = prefixed.filter(|(_, id)| is_id(id)) {
        // Only these have no scope where the runtime does not use systemd.
        return Some(found).filter(|_| scope.is_some() || matches!(found.0, Runtime::Crio | Runtime::Podman));
    }
    if parent == b"machine.slice" {
        let machine = scope.and_then(|stem| stem.strip_prefix(b"machine-"));
        let service = name.strip_suffix(b".service").and_then(|stem| stem.strip_prefix(b"systemd-nspawn@"));
        return machine.or(service).filter(|id| !id.is_empty() && is_unit_name(id)).map(|id| (Runtime::Machine, id));
    }
    // `SLICE:cri-containerd:ID`, if the kubelet uses systemd and containerd does not.
    if let Some(at) = memchr::memrchr(b':', name)
        && let (slice, id) = (name.get(..at)?, name.get(at + 1..)?)
        && slice.ends_with(b":cri-containerd")
    {
        return is_id(id).then_some((Runtime::Containerd, id));
    }
    let runtime = match parent {
        b"docker" => Runtime::Docker,
        b"k8s.io" | b"default" => Runtime::Containerd,
        _ if parent.strip_prefix(b"pod").is_some_and(is_pod_uid) || pod_slice(parent).is_some() => Runtime::Kubernetes,
        _ => return None,
    };
    is_id(name).then_some((runtime, name))
}

/// The uid of the pod that a cgroup belongs to.
fn pod_of<'a>(name: &'a [u8], parent: &[u8], grandparent: &[u8]) -> Option<&'a [u8]> {
    let plain = || {
        let is_root = |name: &[u8]| name == b"kubepods";
        let below = is_root(parent) || matches!(parent, b"burstable" | b"besteffort") && is_root(grandparent);
        name.strip_prefix(b"pod").filter(|uid| below && is_pod_uid(uid))
    };
    pod_slice(name).or_else(plain)
}

/// The uid of the pod in a name of the form `SLICE:cri-containerd:ID`.
fn pod_in(name: &[u8]) -> Option<&[u8]> {
    pod_slice(name.split(|b| *b == b':').next().filter(|slice| slice.len() < name.len())?)
}

/// The uid in `kubepods-burstable-podUID.slice`.
fn pod_slice(name: &[u8]) -> Option<&[u8]> {
    let stem = name.strip_suffix(SLICE)?;
    let at = memchr::memmem::rfind(stem, b"-pod")?;
    let (before, uid) = (stem.get(..at)?, stem.get(at + 4..)?);
    let known = ["kubepods", "kubepods-burstable", "kubepods-besteffort"].map(str::as_bytes);
    // kind and others put `kubelet-` before them.
    let before = before.strip_prefix(b"kubelet-").unwrap_or(before);
    (known.contains(&before) && is_pod_uid(uid)).then_some(uid)
}

/// Whether it is an id of a container: 64 lower-case hexadecimal digits.
fn is_id(text: &[u8]) -> bool {
    text.len() == 64 && text.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// A UUID, or the hash of a static pod: 32 hexadecimal digits. A slice has `_` where a UUID has `-`.
fn is_pod_uid(text: &[u8]) -> bool {
    let hex = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    match text.len() {
        32 => text.iter().all(hex),
        36 => text.iter().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => matches!(b, b'-' | b'_'),
            _ => hex(b),
        }),
        _ => false,
    }
}

/// The name without the `_` that systemd puts before names that the kernel could take for its own files (`cg_escape`).
fn plain(name: &[u8]) -> &[u8] {
    name.strip_prefix(b"_").unwrap_or(name)
}

fn is_unit_name(name: &[u8]) -> bool {
    let valid = |b: &u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(b);
    name.len() <= UNIT_MAX && name.iter().all(valid)
}

fn has_cgroup(name: &[u8]) -> bool {
    let of_type = |kind: &&[u8]| name.ends_with(kind) && name.len() > kind.len();
    WITH_CGROUP.iter().any(of_type) && is_unit_name(name)
}

fn is_slice(name: &[u8]) -> bool {
    name.ends_with(SLICE) && name.len() > SLICE.len() && is_unit_name(name)
}

/// Undoes the escapes of systemd: `\xNN` is a byte.
fn unescape(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.strip_prefix(b"x").and_then(|after| after.first_chunk::<2>()).filter(|_| *first == b'\\');
        let byte = digits.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok());
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { after.get(3..).unwrap_or_default() } else { after };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "4f1c9a0e2b7d4a5c8e3f6d1b0a9c8e7f6d5c4b3a29181706f5e4d3c2b1a09f8e";
    const ID2: &str = "0a9c8e7f6d5c4b3a29181706f5e4d3c2b1a09f8e4f1c9a0e2b7d4a5c8e3f6d1b";

    #[test]
    fn the_unit_is_the_innermost_one() {
        let cases = [
            ("/", None),
            ("/init.scope", Some("init.scope")),
            ("/system.slice", Some("system.slice")),
            ("/system.slice/ssh.service", Some("ssh.service")),
            ("/system.slice/system-getty.slice/getty@tty1.service", Some("getty@tty1.service")),
            ("/system.slice/dev-hugepages.mount", Some("dev-hugepages.mount")),
            (
                r"/system.slice/system-systemd\x2dfsck.slice/systemd-fsck@dev-disk-by\x2duuid-a.service",
                Some(r"systemd-fsck@dev-disk-by\x2duuid-a.service"),
            ),
            ("/system.slice/_cpu.service", Some("cpu.service")),
            ("/user.slice/user-1000.slice/session-3.scope", Some("session-3.scope")),
            ("/user.slice/user-1000.slice/user@1000.service/init.scope", Some("user@1000.service/init.scope")),
            (
                r"/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome\x2dterminal.scope",
                Some(r"user@1000.service/app-gnome\x2dterminal.scope"),
            ),
            ("/system.slice/docker.service/docker/ID", Some("docker.service")),
            ("/system.slice/docker-ID.scope", Some("docker-ID.scope")),
            ("/system.slice/docker-ID.scope/init.scope", Some("docker-ID.scope/init.scope")),
            ("/docker/ID", None),
            ("/docker/ID/system.slice/nginx.service", Some("ID/nginx.service")),
            (
                "/machine.slice/machine-deb.scope/payload/system.slice/nginx.service",
                Some("machine-deb.scope/nginx.service"),
            ),
            ("/machine.slice/systemd-nspawn@deb.service/payload", Some("systemd-nspawn@deb.service")),
            // The owner of a delegated cgroup gave these names.
            (
                "/user.slice/user-1000.slice/user@1000.service/system.slice/ssh.service",
                Some("user@1000.service/ssh.service"),
            ),
            ("/foo/ssh.service", Some("foo/ssh.service")),
            ("/.service", None),
            ("/a b.service", None),
        ];
        for (path, expected) in cases {
            let path = path.replace("ID", ID);
            let found = unit(path.as_bytes()).map(|unit| {
                let mut text = Vec::new();
                unit.write(&mut text);
                String::from_utf8(text).expect("ASCII")
            });
            assert_eq!(found, expected.map(|text| text.replace("ID", ID)), "{path}");
        }
    }

    const UID: &str = "0f6e2d4c-1a2b-4c3d-8e9f-0123456789ab";
    const UID_SLICE: &str = "0f6e2d4c_1a2b_4c3d_8e9f_0123456789ab";
    const STATIC: &str = "0123456789abcdef0123456789abcdef";

    /// The rest of the path, the runtime, the id, the uid of the pod.
    type Found = (&'static str, Runtime, &'static str, &'static str);

    /// The paths as the runtimes make them, in their documentation and sources.
    #[test]
    fn the_container_is_the_outermost_one() {
        use Runtime::*;
        let cases: &[(&str, Option<Found>)] = &[
            ("/", None),
            ("/system.slice/docker.service", None),
            // Docker with the systemd and the cgroupfs driver, and in a container of its own.
            ("/system.slice/docker-ID.scope", Some(("", Docker, "ID", ""))),
            ("/system.slice/docker-ID.scope/init", Some(("/init", Docker, "ID", ""))),
            ("/docker/ID", Some(("", Docker, "ID", ""))),
            ("/docker/ID/docker/OTHER", Some(("/docker/OTHER", Docker, "ID", ""))),
            ("/system.slice/docker-ID.scope/docker/OTHER/a", Some(("/docker/OTHER/a", Docker, "ID", ""))),
            ("/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID.scope", Some(("", Docker, "ID", ""))),
            // Podman: a scope, a child for the payload, rootless, with cgroupfs, and its monitor.
            ("/machine.slice/libpod-ID.scope/container", Some(("/container", Podman, "ID", ""))),
            ("/machine.slice/machine-libpod_pod_OTHER.slice/libpod-ID.scope", Some(("", Podman, "ID", ""))),
            ("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope", Some(("", Podman, "ID", ""))),
            ("/libpod_parent/libpod-ID", Some(("", Podman, "ID", ""))),
            ("/libpod_parent/conmon", None),
            ("/machine.slice/libpod-conmon-ID.scope", None),
            // nerdctl.
            ("/system.slice/nerdctl-ID.scope", Some(("", Containerd, "ID", ""))),
            ("/default/ID", Some(("", Containerd, "ID", ""))),
            // Kubernetes with the systemd driver, by its classes of service.
            ("/kubepods.slice/kubepods-podSLICE.slice/cri-containerd-ID.scope", Some(("", Containerd, "ID", "UID"))),
            (
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podSLICE.slice/cri-containerd-ID.scope",
                Some(("", Containerd, "ID", "UID")),
            ),
            (
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podSLICE.slice/crio-ID.scope",
                Some(("", Crio, "ID", "UID")),
            ),
            (
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podSLICE.slice/crio-conmon-ID.scope",
                Some(("/crio-conmon-ID.scope", Kubernetes, "", "UID")),
            ),
            ("/kubepods.slice/kubepods-podSTATIC.slice/docker-ID.scope", Some(("", Docker, "ID", "STATIC"))),
            (
                "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-podSLICE.slice/cri-containerd-ID.scope/system.slice/a.service",
                Some(("/system.slice/a.service", Containerd, "ID", "UID")),
            ),
            (
                "/system.slice/containerd.service/kubepods-burstable-podSLICE.slice:cri-containerd:ID",
                Some(("", Containerd, "ID", "UID")),
            ),
            // Kubernetes with the cgroupfs driver.
            ("/kubepods/podUID/ID", Some(("", Kubernetes, "ID", "UID"))),
            ("/kubepods/burstable/podUID/ID", Some(("", Kubernetes, "ID", "UID"))),
            ("/kubepods/besteffort/podUID/crio-ID", Some(("", Crio, "ID", "UID"))),
            ("/kubepods/besteffort/podUID", Some(("", Kubernetes, "", "UID"))),
            // kind: a node in docker.
            (
                "/docker/OTHER/kubelet/kubepods/burstable/podUID/ID",
                Some(("/kubelet/kubepods/burstable/podUID/ID", Docker, "OTHER", "")),
            ),
            // Machines, and systemd-nspawn itself.
            ("/machine.slice/machine-deb.scope", Some(("", Machine, "deb", ""))),
            (
                r"/machine.slice/machine-my\x2ddeb.scope/payload/init.scope",
                Some(("/payload/init.scope", Machine, r"my\x2ddeb", "")),
            ),
            ("/machine.slice/systemd-nspawn@deb.service/payload", Some(("/payload", Machine, "deb", ""))),
            ("/machine.slice/machine-deb.scope/supervisor", None),
            (
                r"/machine.slice/machine-qemu\x2d1\x2dvm.scope/libvirt/emulator",
                Some(("/libvirt/emulator", Machine, r"qemu\x2d1\x2dvm", "")),
            ),
            // What only looks like one.
            ("/system.slice/docker-abc.scope", None),
            ("/system.slice/docker-ID", None),
            ("/ID", None),
            ("/foo/ID", None),
            ("/burstable/podUID/a", None),
            ("/kubepods/podfoo/ID", None),
            ("/kubepods.slice/kubepods-podUIDX.slice", None),
            ("/system.slice/machine-deb.scope", None),
            ("/a:cri-containerd:ID", Some(("", Containerd, "ID", ""))),
        ];
        let fill = |text: &str| {
            let text = text.replace("OTHER", ID2).replace("STATIC", STATIC).replace("SLICE", UID_SLICE);
            text.replace("UID", UID).replace("ID", ID)
        };
        for (path, expected) in cases {
            let path = fill(path);
            let found = container(path.as_bytes()).map(|found| {
                let below = &path.as_bytes()[found.path.len()..];
                (text(below), found.runtime, text(found.id), text(&found.pod_uid()))
            });
            let expected = expected.map(|(below, runtime, id, pod)| (fill(below), runtime, fill(id), fill(pod)));
            assert_eq!(found, expected, "{path}");
        }
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).expect("ASCII")
    }

    #[test]
    fn names_of_machines_have_no_escapes() {
        let id = |path: &'static str| container(path.as_bytes()).map(|found| text(&found.plain_id()));
        assert_eq!(id(r"/machine.slice/machine-a\x2db\x.scope"), Some(r"a-b\x".into()));
        assert_eq!(id(r"/machine.slice/machine-a\x2d.scope"), Some("a-".into()));
        let parent = |path: &'static str| container(path.as_bytes()).map(|found| text(found.parent()));
        assert_eq!(parent("/machine.slice/machine-a.scope/payload"), Some("/machine.slice".into()));
    }

    proptest! {
        #[test]
        fn any_path_is_read(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            known in proptest::collection::vec(piece(), 0..12),
        ) {
            check(&bytes);
            check(known.concat().as_bytes());
        }
    }

    fn piece() -> impl Strategy<Value = String> {
        let words = r"/ / / docker docker- .scope .service .slice kubepods burstable pod -pod machine.slice machine- supervisor
            payload user@1000 \x2d : :cri-containerd: libpod- crio- _ a é";
        let pieces: Vec<&str> = words.split_whitespace().chain([ID, ID2, UID, UID_SLICE]).collect();
        proptest::sample::select(pieces).prop_map(str::to_owned)
    }

    /// The results are parts of the path.
    fn check(path: &[u8]) {
        let names: Vec<&[u8]> = path.split(|b| *b == b'/').collect();
        if let Some(unit) = unit(path) {
            assert!(names.iter().any(|name| plain(name) == unit.name));
            assert!(unit.name.len() <= UNIT_MAX && unit.within.is_none_or(|within| names.contains(&within)));
        }
        if let Some(found) = container(path) {
            assert!(path.starts_with(found.path) && found.path.starts_with(found.parent()));
            assert!(matches!(path.get(found.path.len()), None | Some(b'/')));
            assert!(
                is_id(found.id) || found.runtime == Runtime::Machine || found.id.is_empty() && !found.pod.is_empty()
            );
            assert!(found.pod.is_empty() || is_pod_uid(found.pod));
            assert_eq!(found, container(found.path).expect("the container's own cgroup"));
        }
    }
}
