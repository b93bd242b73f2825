//! Where a process's cgroups are found in the filesystem.
//!
//! A machine may have one unified hierarchy (cgroup v2), one for each controller (v1), or both, in which case
//! pressure is in the unified one and the counters are not.

/// The mounted hierarchies, as `/proc/self/mountinfo` tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hierarchies {
    mounts: Vec<Mount>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    /// Empty for the unified hierarchy.
    controllers: Vec<String>,
    /// The cgroup that is mounted: in a nested set-up, not the topmost.
    root: String,
    /// Where.
    point: String,
}

/// A cgroup for one controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Directory {
    /// In the controller's own hierarchy.
    V1(String),
    /// In the unified one.
    V2(String),
}

impl Directory {
    /// Its path.
    pub fn path(&self) -> &str {
        match self {
            Self::V1(path) | Self::V2(path) => path,
        }
    }

    fn parent(&self) -> Option<Self> {
        let parent = |path: &str| Some(path.rsplit_once('/')?.0.to_owned());
        Some(match self {
            Self::V1(path) => Self::V1(parent(path)?),
            Self::V2(path) => Self::V2(parent(path)?),
        })
    }
}

/// The cgroups of one container, or of one pod. A controller that the machine has not is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cgroup {
    /// Shares, quota and throttling.
    pub cpu: Option<Directory>,
    /// Processor time.
    pub cpuacct: Option<Directory>,
    /// Memory and swap.
    pub memory: Option<Directory>,
    /// Numbers of tasks.
    pub pids: Option<Directory>,
    /// Traffic with block devices.
    pub blkio: Option<Directory>,
    /// Huge pages.
    pub hugetlb: Option<Directory>,
    /// Pressure; also what the kernel lists processes in, where nothing else does.
    pub unified: Option<Directory>,
}

impl Cgroup {
    /// The cgroups above these: a pod's, of those of one of its containers.
    #[must_use]
    pub fn parent(&self) -> Self {
        let parent = |directory: &Option<Directory>| directory.as_ref().and_then(Directory::parent);
        Self {
            cpu: parent(&self.cpu),
            cpuacct: parent(&self.cpuacct),
            memory: parent(&self.memory),
            pids: parent(&self.pids),
            blkio: parent(&self.blkio),
            hugetlb: parent(&self.hugetlb),
            unified: parent(&self.unified),
        }
    }

    /// The last part of the cgroup's name.
    pub fn name(&self) -> &str {
        let any = self
            .memory
            .as_ref()
            .or(self.cpuacct.as_ref())
            .or(self.unified.as_ref());
        any.and_then(|directory| directory.path().rsplit('/').next())
            .unwrap_or_default()
    }
}

impl Hierarchies {
    /// Reads `/proc/self/mountinfo`.
    pub fn parse(mountinfo: &str) -> Self {
        Self {
            mounts: mountinfo.lines().filter_map(mount).collect(),
        }
    }

    /// The cgroup of a process for `controller`, by its `/proc/<pid>/cgroup`.
    pub fn directory(&self, membership: &str, controller: &str) -> Option<Directory> {
        let mut unified = None;
        for (controllers, path) in lines(membership) {
            if controllers.is_empty() {
                unified = Some(path);
            } else if controllers.split(',').any(|name| name == controller) {
                return self.own(controller, path).map(Directory::V1);
            }
        }
        self.unified(unified?).map(Directory::V2)
    }

    /// The cgroup of the container `id` for `controller`, by the `/proc/<pid>/cgroup` of one of its processes; `None` also
    /// if that process is not in one of a container of that id.
    pub fn of_container(&self, membership: &str, controller: &str, id: &str) -> Option<Directory> {
        let mut own = String::new();
        for line in membership.lines() {
            own.push_str(cut(line, id).unwrap_or_default());
            own.push('\n');
        }
        self.directory(&own, controller)
    }

    /// The cgroups of the container `id`, by the `/proc/<pid>/cgroup` of one of its processes. `None` if that
    /// process is not in one of a container of that id: the number has been given to another.
    ///
    /// A container may move its processes into cgroups below its own, so paths are cut where the id ends.
    pub fn container(&self, membership: &str, id: &str) -> Option<Cgroup> {
        let mut cgroup = Cgroup::default();
        let mut found = false;
        for (controllers, path) in lines(membership) {
            let Some(path) = cut(path, id) else { continue };
            found = true;
            if controllers.is_empty() {
                cgroup.unified = self.unified(path).map(Directory::V2);
                continue;
            }
            for controller in controllers.split(',') {
                let place = match controller {
                    "cpu" => &mut cgroup.cpu,
                    "cpuacct" => &mut cgroup.cpuacct,
                    "memory" => &mut cgroup.memory,
                    "pids" => &mut cgroup.pids,
                    "blkio" => &mut cgroup.blkio,
                    "hugetlb" => &mut cgroup.hugetlb,
                    _ => continue,
                };
                *place = self.own(controller, path).map(Directory::V1);
            }
        }
        // A controller is in one hierarchy only: without one of its own it is in the unified one.
        let unified = cgroup.unified.clone();
        for place in [
            &mut cgroup.cpu,
            &mut cgroup.cpuacct,
            &mut cgroup.memory,
            &mut cgroup.pids,
            &mut cgroup.blkio,
            &mut cgroup.hugetlb,
        ] {
            if place.is_none() {
                place.clone_from(&unified);
            }
        }
        found.then_some(cgroup)
    }

    fn own(&self, controller: &str, path: &str) -> Option<String> {
        let has = |mount: &&Mount| mount.controllers.iter().any(|name| name == controller);
        self.mounts.iter().filter(has).find_map(|mount| mount.find(path))
    }

    fn unified(&self, path: &str) -> Option<String> {
        let is = |mount: &&Mount| mount.controllers.is_empty();
        self.mounts.iter().filter(is).find_map(|mount| mount.find(path))
    }
}

impl Mount {
    fn find(&self, path: &str) -> Option<String> {
        let below = path.strip_prefix(self.root.trim_end_matches('/'))?;
        if !below.is_empty() && !below.starts_with('/') {
            return None;
        }
        Some(format!("{}{}", self.point, below.trim_end_matches('/')))
    }
}

fn mount(line: &str) -> Option<Mount> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut filesystem = filesystem.split(' ');
    let controllers = match filesystem.next()? {
        "cgroup2" => Vec::new(),
        "cgroup" => filesystem.nth(1)?.split(',').map(str::to_owned).collect(),
        _ => return None,
    };
    let mut fields = mount.split(' ').skip(3);
    Some(Mount {
        controllers,
        root: fields.next()?.to_owned(),
        point: fields.next()?.to_owned(),
    })
}

/// Controllers and path of each line.
fn lines(membership: &str) -> impl Iterator<Item = (&str, &str)> {
    membership.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        Some((parts.next()?, parts.next()?))
    })
}

/// The path up to and with the part that has the id in it.
fn cut<'a>(path: &'a str, id: &str) -> Option<&'a str> {
    let at = path.find(id).filter(|_| !id.is_empty())?;
    let end = path[at..].find('/').map_or(path.len(), |length| at + length);
    Some(&path[..end])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const V1: &str = "\
30 25 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
31 25 0:27 /docker/outer /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
32 25 0:28 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
33 25 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    const V2: &str = "28 24 0:25 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    fn v1(path: &str) -> Option<Directory> {
        Some(Directory::V1(path.into()))
    }

    fn v2(path: &str) -> Option<Directory> {
        Some(Directory::V2(path.into()))
    }

    #[test]
    fn each_hierarchy_has_its_place() {
        let membership = "5:memory:/docker/outer/pod/x\n4:cpu,cpuacct:/pod/x\n1:name=systemd:/pod/x\n";
        let found = |controller| Hierarchies::parse(V1).directory(membership, controller);
        assert_eq!(found("cpu"), v1("/sys/fs/cgroup/cpu,cpuacct/pod/x"));
        assert_eq!(found("memory"), v1("/sys/fs/cgroup/memory/pod/x"));
        assert_eq!(found("hugetlb"), None);
        assert_eq!(
            Hierarchies::parse(V2).directory("0::/kubepods.slice/docker-1.scope\n", "memory"),
            v2("/sys/fs/cgroup/kubepods.slice/docker-1.scope")
        );
    }

    #[test]
    fn a_container_of_a_hybrid_machine_has_both() {
        let membership = "\
9:name=systemd:/kubepods/pod1/abc
4:memory:/docker/outer/kubepods/pod1/abc
2:cpu,cpuacct:/kubepods/pod1/abc
0::/kubepods/pod1/abc
";
        let cgroup = Hierarchies::parse(V1).container(membership, "abc").unwrap();
        let unified = v2("/sys/fs/cgroup/unified/kubepods/pod1/abc");
        assert_eq!(cgroup.cpuacct, v1("/sys/fs/cgroup/cpu,cpuacct/kubepods/pod1/abc"));
        assert_eq!(cgroup.memory, v1("/sys/fs/cgroup/memory/kubepods/pod1/abc"));
        assert_eq!((&cgroup.unified, &cgroup.pids), (&unified, &unified));
        assert_eq!(cgroup.name(), "abc");
        let pod = cgroup.parent();
        assert_eq!(pod.memory, v1("/sys/fs/cgroup/memory/kubepods/pod1"));
        assert_eq!(pod.unified, v2("/sys/fs/cgroup/unified/kubepods/pod1"));
        assert_eq!(pod.name(), "pod1");
    }

    #[test]
    fn what_a_container_makes_below_its_cgroup_is_its_own() {
        let hierarchies = Hierarchies::parse(V2);
        for membership in [
            "0::/kubepods.slice/docker-abc.scope\n",
            "0::/kubepods.slice/docker-abc.scope/init.scope\n",
        ] {
            let cgroup = hierarchies.container(membership, "abc").unwrap();
            assert_eq!(
                cgroup.memory,
                v2("/sys/fs/cgroup/kubepods.slice/docker-abc.scope")
            );
            assert_eq!(cgroup.memory, cgroup.cpu);
        }
        assert_eq!(
            hierarchies.of_container(
                "0::/kubepods.slice/docker-abc.scope/init.scope\n",
                "memory",
                "abc"
            ),
            v2("/sys/fs/cgroup/kubepods.slice/docker-abc.scope")
        );
        // The number belongs to another process by now.
        let other = "0::/system.slice/sshd.service\n";
        assert_eq!(hierarchies.container(other, "abc"), None);
        assert_eq!(hierarchies.of_container(other, "memory", "abc"), None);
        assert_eq!(hierarchies.container("", "abc"), None);
        assert_eq!(hierarchies.container("0::/a\n", ""), None);
    }
}
