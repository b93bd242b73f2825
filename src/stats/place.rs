//! Where a container is found: its cgroups, its process, its writable layer.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use rustix::fs::{Mode, OFlags, open};
use translate::{
    answer::ContainerInspect,
    stats::{Rate, hierarchy::Cgroup, messages::Sample},
};

use super::{
    Stats,
    read::{Kept, Reader},
};

/// The directory of the Engine's own overlay driver, below its data.
const OVERLAY: &str = "overlay2";

/// One run of a container.
pub(super) struct Place {
    /// Its first process, and when that was started: both together belong to one run only.
    pid: i32,
    started_at: String,
    pub(super) cgroup: Measured,
    /// Above it: the pod's own, if this is a pause container of a pod that has one.
    pub(super) pod: Option<Measured>,
    /// A pause container's `/proc/<pid>`. Held open, because by then the number may be another process's, which a
    /// path would lead to.
    pub(super) process: Option<OwnedFd>,
}

/// A cgroup, and how much processor time it used lately.
pub(super) struct Measured {
    pub(super) cgroup: Cgroup,
    rate: Mutex<Rate>,
    kept: Mutex<Kept>,
}

impl Measured {
    fn new(cgroup: Cgroup) -> Self {
        Self {
            cgroup,
            rate: Mutex::default(),
            kept: Mutex::default(),
        }
    }
}

/// What a container is to the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// One of the pod's containers, which write.
    Member,
    /// The pause container, whose network is the pod's.
    Pause,
}

impl Stats {
    /// Where a running container is found; `None` if it has ended meanwhile. The Engine's layers are in `store`.
    pub(super) fn place(&self, inspect: &ContainerInspect, role: Role, store: &Path) -> Option<Arc<Place>> {
        let id = &inspect.id;
        let (pid, started_at) = (inspect.state.pid, &inspect.state.started_at);
        if let Some(place) = self.places().get(id)
            && place.pid == pid
            && place.started_at == *started_at
        {
            return Some(Arc::clone(place));
        }
        let place = Arc::new(self.find(inspect, role, store)?);
        let mut places = self.places();
        if places.len() == places.capacity() {
            // Who is asked for by id alone is forgotten by no list.
            places.retain(|_, place| place.is_alive());
        }
        places.insert(id.clone(), Arc::clone(&place));
        drop(places);
        Some(place)
    }

    fn find(&self, inspect: &ContainerInspect, role: Role, store: &Path) -> Option<Place> {
        let (id, pid) = (&inspect.id, inspect.state.pid);
        if pid <= 0 {
            return None;
        }
        // Opened before the process is known to be the container's: what is known then is known of this one.
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let process = match role {
            Role::Member => None,
            Role::Pause => Some(open(format!("/proc/{pid}"), flags, Mode::empty()).ok()?),
        };
        let membership = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let cgroup = self.hierarchies.container(&membership, id)?;
        if role == Role::Member
            && let Ok(mounts) = fs::read_to_string(format!("/proc/{pid}/mountinfo"))
            && let Some(directory) = translate::stats::layer::upper_directory(&mounts)
        {
            self.layers.add(id, store.join(OVERLAY).join(directory));
        }
        // Without a parent of its own a container is below one that it shares with all others.
        let own_parent = role == Role::Pause && !inspect.host_config.cgroup_parent.is_empty();
        Some(Place {
            pid,
            started_at: inspect.state.started_at.clone(),
            pod: own_parent.then(|| Measured::new(cgroup.parent())),
            cgroup: Measured::new(cgroup),
            process,
        })
    }

    /// Forgets where a container was found that is not there any more.
    pub(super) fn lose(&self, id: &str) {
        self.places().remove(id);
    }

    /// Reads a cgroup; `None` if it is gone.
    pub(super) fn sample(&self, reader: &mut Reader, of: &Measured) -> Option<Sample> {
        let mut kept = of.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sample = reader.sample(&of.cgroup, &mut kept)?;
        drop(kept);
        if let Some(cpu) = sample.cpu {
            let now = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let mut rate = of.rate.lock().unwrap_or_else(PoisonError::into_inner);
            sample.nano_cores = rate.sample(now, cpu);
        }
        Some(sample)
    }
}

impl Place {
    /// Whether its process may run still.
    fn is_alive(&self) -> bool {
        fs::exists(format!("/proc/{}", self.pid)).unwrap_or(true)
    }

    /// A file of a pause container's process.
    pub(super) fn proc_file(&self, name: &str) -> io::Result<String> {
        let process = self.process.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(process, name, flags, Mode::empty())?;
        io::read_to_string(fs::File::from(file))
    }
}
