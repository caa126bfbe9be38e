//! The containers and pods of cgroups: their names from the files of the runtimes, without sockets.
//!
//! The path of a cgroup only claims to be a container's: a user with a delegated cgroup can give a directory in it any
//! name. So the claim counts only if the directory in which the name was made belongs to root, or if the files of the
//! user to whom it belongs have a container with this id. The names that are shown come from the files of that user
//! alone, so a user can invent containers, but cannot put a process into a container of root or of another user.

use super::cgroup::{CgroupResolver, open_cgroup};
use super::confine::{self, Role};
use super::open_below;
use foldhash::HashMap;
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use serde::Deserialize;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use tracetui_events::event::cgroup::{self, ContainerPath, Runtime};
use tracetui_events::frame::host::{Cgroup, Container};

/// The maximum size of a file of a runtime. The list of podman has about 1 KB for each container.
const FILE_MAX: u64 = 4 << 20;

/// The maximum length of a text that is kept. Names of pods have at most 253 bytes, names of images rarely more.
const TEXT_MAX: usize = 512;

/// The maximum number of questions that wait for the thread. Further ones are not asked.
const WAITING: usize = 64;

/// The maximum time to wait for the names of a cgroup. Reading the files takes less than a millisecond, unless the disk is slow.
const PATIENCE: Duration = Duration::from_millis(20);

/// After a wait, none follows for so many times its length. Somebody may create many cgroups.
const REST: u32 = 10;

/// Finds the containers of cgroups, on a thread of its own: a file system may not answer.
#[derive(Debug)]
pub struct Containers {
    ask: SyncSender<Cgroup>,
    answers: Receiver<Cgroup>,
    /// The number of questions without an answer.
    open: usize,
    next_wait: Instant,
}

impl Containers {
    pub fn start(cgroups: &CgroupResolver) -> io::Result<Containers> {
        let (mount, root) = cgroups.top();
        let (mount, root) = (mount.try_clone()?, root.to_vec());
        let (ask, asked) = sync_channel::<Cgroup>(WAITING);
        let (answer, answers) = sync_channel(WAITING);
        let run = move || {
            for mut cgroup in asked {
                cgroup.container = find(&mount, &root, &cgroup.path);
                // An error means that the trace has ended.
                if answer.send(cgroup).is_err() {
                    break;
                }
            }
        };
        confine::start("containers", Role::Reader, run)?;
        Ok(Containers { ask, answers, open: 0, next_wait: Instant::now() })
    }

    /// Sets the container of a cgroup, if it can be found at once. Otherwise [`late`](Self::late) has it later.
    pub fn name(&mut self, cgroup: &mut Cgroup) {
        if cgroup::container(&cgroup.path).is_none() || self.open >= WAITING {
            return;
        }
        let asked = Cgroup { id: cgroup.id, path: cgroup.path.clone(), container: None };
        if self.ask.try_send(asked).is_err() {
            return;
        }
        self.open += 1;
        let began = Instant::now();
        if began < self.next_wait || self.open > 1 {
            return;
        }
        match self.answers.recv_timeout(PATIENCE) {
            Ok(answer) => {
                self.open -= 1;
                cgroup.container = answer.container;
            }
            // The thread could not give up its rights.
            Err(RecvTimeoutError::Disconnected) => self.open = WAITING,
            Err(RecvTimeoutError::Timeout) => {}
        }
        let now = Instant::now();
        self.next_wait = now + REST * now.duration_since(began);
    }

    /// Sets the containers of all these cgroups, and waits longer for them.
    pub fn name_all(&mut self, cgroups: &mut [Cgroup]) {
        let until = Instant::now() + REST * PATIENCE;
        for cgroup in cgroups {
            self.next_wait = Instant::now();
            if self.next_wait < until {
                self.name(cgroup);
            }
        }
    }

    /// A cgroup whose container was found late.
    pub fn late(&mut self) -> Option<Cgroup> {
        if self.open == 0 {
            return None;
        }
        let cgroup = self.answers.try_recv().ok()?;
        self.open -= 1;
        Some(cgroup)
    }
}

/// The container or pod of a cgroup. `None` if the path has none, or if it may be forged.
fn find(mount: &File, root: &[u8], path: &[u8]) -> Option<Container> {
    let claim = cgroup::container(path)?;
    let parent = claim.parent().strip_prefix(root)?;
    let owner = fstat(open_cgroup(mount, parent).ok()?).ok()?.st_uid;
    let found = if owner == 0 { of_root(&claim) } else { of_user(&claim, owner, &home(owner)?) };
    let mut container = match found {
        Some(found) => found,
        None if owner == 0 => Container { runtime: runtime(claim.runtime).into(), ..Container::default() },
        None => return None,
    };
    container.id = claim.plain_id();
    // Only root runs Kubernetes.
    if owner == 0 && !claim.pod.is_empty() {
        container.pod_uid = claim.pod_uid();
    } else if owner != 0 {
        (container.pod_name, container.pod_namespace, container.pod_uid) = Default::default();
    }
    let Container { id, runtime, name, image, pod_name, pod_namespace, pod_uid } = &mut container;
    for text in [id, runtime, name, image, pod_name, pod_namespace, pod_uid] {
        *text = String::from_utf8_lossy(text.get(..TEXT_MAX).unwrap_or(text)).into_owned().into_bytes();
    }
    Some(container)
}

fn runtime(of: Runtime) -> &'static [u8] {
    match of {
        Runtime::Docker => b"docker",
        Runtime::Containerd => b"containerd",
        Runtime::Crio => b"cri-o",
        Runtime::Podman => b"podman",
        Runtime::Machine => b"nspawn",
        Runtime::Kubernetes => b"",
    }
}

fn of_root(claim: &ContainerPath<'_>) -> Option<Container> {
    let id = str::from_utf8(claim.id).ok().filter(|id| !id.is_empty())?;
    let docker = || docker(Path::new("/var/lib/docker/containers"), 0, id);
    let storage = || storage(Path::new("/var/lib/containers/storage"), 0, id);
    match claim.runtime {
        Runtime::Docker => docker(),
        Runtime::Containerd => containerd(id),
        Runtime::Crio => crio(id),
        Runtime::Podman => storage(),
        Runtime::Machine => machine(Path::new("/run/systemd/machines"), &claim.plain_id()),
        Runtime::Kubernetes => containerd(id).or_else(docker).or_else(|| crio(id)),
    }
}

/// A container of a user, in the directories of rootless runtimes.
fn of_user(claim: &ContainerPath<'_>, user: u32, home: &Path) -> Option<Container> {
    let id = str::from_utf8(claim.id).ok().filter(|id| !id.is_empty())?;
    match claim.runtime {
        Runtime::Docker => docker(&home.join(".local/share/docker/containers"), user, id),
        Runtime::Podman => storage(&home.join(".local/share/containers/storage"), user, id),
        _ => None,
    }
}

/// The home directory of a user, which root has chosen.
fn home(user: u32) -> Option<PathBuf> {
    home_in(&super::read_bounded("/etc/passwd", FILE_MAX).ok()?, user)
}

fn home_in(passwd: &[u8], user: u32) -> Option<PathBuf> {
    passwd.split(|b| *b == b'\n').find_map(|line| {
        let mut fields = line.split(|b| *b == b':');
        (super::decimal::<u32>(fields.nth(2)?)? == user).then_some(())?;
        // After the uid: the gid, the full name, the home directory.
        let home = Path::new(OsStr::from_bytes(fields.nth(2)?));
        home.is_absolute().then(|| home.to_owned())
    })
}

/// A regular file of a user below a directory. No symbolic link leads to it, and no other file system has it.
fn read(dir: &Path, path: &str, user: u32) -> Option<Vec<u8>> {
    // What is above the user's own directory was made by root; what is in it is not followed.
    let (top, below) = match dir.ancestors().find(|dir| dir.ends_with(".local")).and_then(Path::parent) {
        Some(home) => (home, dir.strip_prefix(home).ok()?.join(path)),
        None => (dir, PathBuf::from(path)),
    };
    let top = openat(CWD, top, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    // A file may be a pipe, which would wait for a writer.
    let file = open_below(top, &below, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY).ok()?;
    let stat = fstat(&file).ok()?;
    let size = u64::try_from(stat.st_size).ok()?;
    (FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_uid == user && size <= FILE_MAX)
        .then_some(())?;
    let mut bytes = Vec::new();
    File::from(file).take(FILE_MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The labels of Docker, or the annotations of an OCI bundle. Other values than strings do not count.
type Notes = HashMap<String, Value>;

/// The keys of a container's name, its image, and the name, the namespace and the uid of its pod.
type Keys = [&'static str; 5];

/// As Docker and CRI-O write them.
const KUBERNETES: Keys = [
    "io.kubernetes.container.name",
    "io.kubernetes.cri-o.ImageName",
    "io.kubernetes.pod.name",
    "io.kubernetes.pod.namespace",
    "io.kubernetes.pod.uid",
];

/// As containerd writes them.
const CONTAINERD: Keys = [
    "io.kubernetes.cri.container-name",
    "io.kubernetes.cri.image-name",
    "io.kubernetes.cri.sandbox-name",
    "io.kubernetes.cri.sandbox-namespace",
    "io.kubernetes.cri.sandbox-uid",
];

/// The `config.json` of an OCI bundle.
#[derive(Deserialize)]
struct Bundle {
    annotations: Option<Notes>,
}

fn notes_of(bundle: &[u8]) -> Option<Notes> {
    Some(serde_json::from_slice::<Bundle>(bundle).ok()?.annotations.unwrap_or_default())
}

fn note(notes: &Notes, key: &str) -> Vec<u8> {
    notes.get(key).and_then(Value::as_str).unwrap_or_default().into()
}

fn noted(runtime: Runtime, notes: &Notes, keys: Keys) -> Container {
    let [name, image, pod_name, pod_namespace, pod_uid] = keys.map(|key| note(notes, key));
    let runtime = self::runtime(runtime).into();
    Container { runtime, name, image, pod_name, pod_namespace, pod_uid, id: Vec::new() }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerFile {
    name: String,
    config: Option<DockerConfig>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct DockerConfig {
    image: String,
    labels: Option<Notes>,
}

fn docker(dir: &Path, user: u32, id: &str) -> Option<Container> {
    let file = read(dir, &format!("{id}/config.v2.json"), user)?;
    let DockerFile { name, config } = serde_json::from_slice(&file).ok()?;
    let DockerConfig { image, labels } = config.unwrap_or_default();
    let mut container = noted(Runtime::Docker, &labels.unwrap_or_default(), KUBERNETES);
    container.image = image.into();
    if container.name.is_empty() {
        // Docker writes a slash before the name.
        container.name = name.strip_prefix('/').unwrap_or(&name).into();
    }
    Some(container)
}

fn containerd(id: &str) -> Option<Container> {
    let tasks = |run: &str, namespace: &str| {
        let dir = format!("{run}/io.containerd.runtime.v2.task/{namespace}");
        read(Path::new(&dir), &format!("{id}/config.json"), 0)
    };
    let file = tasks("/run/containerd", "k8s.io")
        .or_else(|| tasks("/run/k3s/containerd", "k8s.io"))
        .or_else(|| tasks("/run/containerd", "default"))?;
    let notes = notes_of(&file)?;
    let mut container = noted(Runtime::Containerd, &notes, CONTAINERD);
    if container.name.is_empty() {
        container.name = note(&notes, "nerdctl/name");
    }
    Some(container)
}

fn crio(id: &str) -> Option<Container> {
    let dir = Path::new("/var/lib/containers/storage/overlay-containers");
    let run = Path::new("/run/containers/storage/overlay-containers");
    let path = format!("{id}/userdata/config.json");
    let file = read(dir, &path, 0).or_else(|| read(run, &path, 0))?;
    Some(noted(Runtime::Crio, &notes_of(&file)?, KUBERNETES))
}

#[derive(Deserialize)]
struct Listed {
    id: String,
    #[serde(default)]
    names: Vec<String>,
    /// JSON in a string.
    #[serde(default)]
    metadata: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Metadata {
    image_name: String,
}

/// A container in the list of podman (containers/storage), by the name of its storage driver.
fn storage(dir: &Path, user: u32, id: &str) -> Option<Container> {
    let lists = ["overlay", "vfs", "btrfs"].iter().flat_map(|driver| {
        ["containers.json", "volatile-containers.json"].map(|list| format!("{driver}-containers/{list}"))
    });
    lists.into_iter().find_map(|list| {
        let file = read(dir, &list, user)?;
        let listed: Vec<Listed> = serde_json::from_slice(&file).ok()?;
        let Listed { names, metadata, .. } = listed.into_iter().find(|listed| listed.id == id)?;
        let image = serde_json::from_str(&metadata).map(|Metadata { image_name }| image_name);
        Some(Container {
            runtime: b"podman".into(),
            name: names.into_iter().next().unwrap_or_default().into(),
            image: image.unwrap_or_default().into(),
            ..Container::default()
        })
    })
}

/// A machine in the files of systemd-machined.
fn machine(dir: &Path, name: &[u8]) -> Option<Container> {
    // Its name has no slash, but could be `..`.
    let file = Some(str::from_utf8(name).ok()?).filter(|name| !name.starts_with('.'));
    let file = read(dir, file?, 0)?;
    let line = |key: &[u8]| file.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(key));
    let service = line(b"SERVICE=").unwrap_or(b"systemd-nspawn");
    let service = service.strip_prefix(b"systemd-").unwrap_or(service);
    Some(Container { runtime: service.to_vec(), name: name.to_vec(), ..Container::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, symlink};
    use tracetui_events::synthetic::Scratch;

    const ID: &str = "4f1c9a0e2b7d4a5c8e3f6d1b0a9c8e7f6d5c4b3a29181706f5e4d3c2b1a09f8e";

    /// A directory that is removed at the end, and the user to whom it belongs.
    struct Dir(Scratch, u32);

    impl Dir {
        fn new(name: &str) -> Dir {
            let dir = Scratch::new(name);
            let owner = fs::metadata(&*dir).expect("there").uid();
            Dir(dir, owner)
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().expect("a directory")).expect("room");
            fs::write(path, text).expect("room");
        }
    }

    fn parts(container: Option<Container>) -> Option<[String; 6]> {
        let Container { runtime, name, image, pod_name, pod_namespace, pod_uid, .. } = container?;
        let texts = [runtime, name, image, pod_name, pod_namespace, pod_uid];
        Some(texts.map(|text| String::from_utf8(text).expect("UTF-8")))
    }

    #[test]
    fn each_runtime_has_its_files() {
        let dir = Dir::new("docker");
        let file = format!("{ID}/config.v2.json");
        dir.write(
            &file,
            r#"{"State":{"Running":true},"Config":{"Hostname":"a","Image":"nginx:1.27","Labels":{}},"Name":"/web"}"#,
        );
        let found = || parts(docker(&dir.0, dir.1, ID));
        assert_eq!(found(), Some(["docker", "web", "nginx:1.27", "", "", ""].map(str::to_owned)));
        let labels = r#""io.kubernetes.container.name":"app","io.kubernetes.pod.name":"p","io.kubernetes.pod.namespace":"n","io.kubernetes.pod.uid":"u""#;
        dir.write(&file, &format!(r#"{{"Config":{{"Image":"i","Labels":{{{labels}}}}},"Name":"/k8s_app_p_n_u_0"}}"#));
        assert_eq!(found(), Some(["docker", "app", "i", "p", "n", "u"].map(str::to_owned)));
        dir.write(&file, "{");
        assert_eq!(found(), None);
        assert_eq!(docker(&dir.0, dir.1, "other"), None);
        let dir = Dir::new("podman");
        let found = || parts(storage(&dir.0, dir.1, ID));
        assert_eq!(found(), None);
        for list in ["vfs-containers/containers.json", "overlay-containers/volatile-containers.json"] {
            dir.write(list, &LIST.replace("ID", ID));
            assert_eq!(found(), Some(["podman", "h-web", "localhost/h-busybox:1", "", "", ""].map(str::to_owned)));
            dir.write(list, "[]");
        }
        assert_eq!(found(), None);
        let dir = Dir::new("machines");
        dir.write("deb", "# This is private data. Do not parse.\nNAME=deb\nSERVICE=systemd-nspawn\nCLASS=container\n");
        dir.write("vm", "NAME=vm\nSERVICE=libvirt-qemu\n");
        let found = |name: &str| parts(machine(&dir.0, name.as_bytes())).map(|[runtime, name, ..]| (runtime, name));
        // It belongs to root in earnest.
        let of_root = |found: (&str, &str)| Some((found.0.to_owned(), found.1.to_owned())).filter(|_| dir.1 == 0);
        assert_eq!(found("deb"), of_root(("nspawn", "deb")));
        assert_eq!(found("vm"), of_root(("libvirt-qemu", "vm")));
        assert_eq!((found(".."), found("other")), (None, None));
    }

    /// As podman 4.3.1 writes it.
    const LIST: &str = r#"[{"id":"0","names":["h-db"]},{"id":"ID","names":["h-web"],"image":"0fbc","layer":"f278",
        "metadata":"{\"image-name\":\"localhost/h-busybox:1\",\"image-id\":\"0fbc\",\"name\":\"h-web\",\"created-at\":1795745890}",
        "created":"2026-11-27T02:18:10.458084268Z","flags":{"MountLabel":"","ProcessLabel":""}}]"#;

    #[test]
    fn only_regular_files_of_the_user_are_read_for_their_own_containers() {
        let dir = Dir::new("files");
        dir.write("a/file", "text");
        dir.write("secret", "text");
        let read = |path: &str, user| read(&dir.0, path, user);
        assert_eq!(read("a/file", dir.1).as_deref(), Some(b"text".as_slice()));
        assert_eq!(read("a/file", dir.1 + 1), None, "it belongs to another user");
        symlink(dir.0.join("secret"), dir.0.join("link")).expect("room");
        symlink(dir.0.join("a"), dir.0.join("b")).expect("room");
        assert_eq!((read("link", dir.1), read("b/file", dir.1), read("a", dir.1)), (None, None, None));
        rustix::fs::mknodat(CWD, dir.0.join("pipe"), FileType::Fifo, Mode::RWXU, 0).expect("room");
        assert_eq!(read("pipe", dir.1), None, "it does not wait for a writer");
        fs::File::create(dir.0.join("large")).and_then(|file| file.set_len(FILE_MAX + 1)).expect("room");
        assert_eq!(read("large", dir.1), None);
        // In the home of a user, no link is followed at any depth.
        dir.write("home/real/storage/file", "text");
        symlink("real", dir.0.join("home/.local")).expect("room");
        assert_eq!(super::read(&dir.0.join("home/.local/storage"), "file", dir.1), None);
        dir.write("home2/.local/storage/file", "text");
        assert!(super::read(&dir.0.join("home2/.local/storage"), "file", dir.1).is_some());
        let passwd =
            b"root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000:/full/name:/home/ann:/bin/sh\nx:x:7:7::relative:\n";
        let home = |user| home_in(passwd, user);
        assert_eq!((home(0), home(1000)), (Some("/root".into()), Some("/home/ann".into())));
        assert_eq!((home(7), home(8), home_in(b"a:x:9:9", 9)), (None, None, None));
        // Names by users count only for their own containers.
        let (Ok(resolver), true) = (CgroupResolver::new(), rustix::process::geteuid().is_root()) else {
            return crate::not_checked("it needs root and a v2 hierarchy");
        };
        let (mount, root) = resolver.top();
        let top =
            format!("/proc/self/fd/{}/tracetui-forged-{}", std::os::fd::AsRawFd::as_raw_fd(mount), std::process::id());
        let name = format!("docker-{ID}.scope");
        if fs::create_dir(&top).is_err() {
            return crate::not_checked("no cgroup can be created");
        }
        let path = [root, format!("/tracetui-forged-{}/{name}/inner", std::process::id()).as_bytes()].concat();
        let found = || find(mount, root, &path).map(|container| (container.id, container.runtime, container.name));
        // Root made the directory, so the id is shown even without a file.
        assert_eq!(found(), Some((ID.into(), b"docker".to_vec(), Vec::new())));
        std::os::unix::fs::chown(&top, Some(65_530), None).expect("root");
        assert_eq!(found(), None);
        fs::remove_dir(&top).expect("empty");
    }
}
