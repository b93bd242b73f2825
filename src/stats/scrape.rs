//! The metrics calls, and the same for those who scrape without a kubelet.

use std::{collections::HashMap, fs, os::unix::fs::MetadataExt, path::Path, sync::Arc, time::Duration};

use translate::stats::metrics::{self, Filesystem, PodPoints, Points, Subject};

use super::{Stats, collect::interfaces, detail, place::Role, read::Reader, running::image};
use crate::{
    error::Result,
    store::{ContainerView, SandboxView},
};

/// How long a scrape waits for the first count of layers that were never counted.
const PATIENCE: Duration = Duration::from_secs(2);

impl Stats {
    /// ListPodSandboxMetrics: those of running pods.
    pub async fn list_metrics(self: &Arc<Self>) -> Result<Vec<cri::PodSandboxMetrics>> {
        let pods = self.scrape().await?;
        Ok(pods.into_iter().map(metrics::pod).collect())
    }

    /// The same in Prometheus' text format.
    pub async fn exposition(self: &Arc<Self>) -> Result<String> {
        let pods = self.scrape().await?;
        self.blocking(move |_| metrics::exposition(&pods)).await
    }

    async fn scrape(self: &Arc<Self>) -> Result<Vec<PodPoints>> {
        let _alone = self.scraping.lock().await;
        let (pods, mut containers) = self.pods_and_containers(cri::PodSandboxFilter::default()).await?;
        let store = self.images.directory().await?;
        self.blocking(move |this| {
            let mut reader = Reader::new();
            let mut devices = Devices::default();
            let all = containers.values().flatten();
            // To find a container's place begins the count of its layer.
            let ids: Vec<_> = all
                .filter_map(|running| {
                    this.place(&running.inspect, Role::Member, &store)?;
                    Some(running.container.id.as_str())
                })
                .collect();
            this.layers.wait(&ids, PATIENCE);
            let filesystem = filesystem(&store, &mut devices);
            let mut found = Vec::with_capacity(pods.len());
            for pod in &pods {
                let members = containers.remove(&pod.sandbox.id).unwrap_or_default();
                found.extend(this.pod_points(
                    &mut reader,
                    pod,
                    &members,
                    &store,
                    filesystem.as_ref(),
                    &mut devices,
                ));
            }
            found
        })
        .await
    }

    fn pod_points(
        &self,
        reader: &mut Reader,
        pod: &SandboxView,
        members: &[Arc<ContainerView>],
        store: &Path,
        filesystem: Option<&Filesystem>,
        devices: &mut Devices,
    ) -> Option<PodPoints> {
        let place = self.place(&pod.inspect, Role::Pause, store)?;
        let interfaces = interfaces(pod, &place).unwrap_or_default();
        let metadata = pod.sandbox.record.config.metadata.clone().unwrap_or_default();
        let subject = Subject {
            pod: metadata.name,
            namespace: metadata.namespace,
            id: pod.sandbox.id.clone(),
            ..Subject::default()
        };
        let mut containers = Vec::with_capacity(members.len());
        for running in members {
            let Some((place, mut sample)) = self.container_sample(reader, running, store) else {
                continue;
            };
            sample.tasks = reader.tasks(&place.cgroup.cgroup);
            let detail = detail::of(reader, running, &place);
            for io in detail.io_bytes.iter().chain(&detail.io_operations) {
                devices.name(io.device);
            }
            let layer = self.layers.get(&running.container.id);
            let name = |device| devices.known(device);
            let record = &running.container.record.config;
            containers.push(Points {
                subject: Subject {
                    container: record.metadata.clone().unwrap_or_default().name,
                    id: running.container.id.clone(),
                    image: image(running).to_owned(),
                    ..subject.clone()
                },
                points: metrics::container(&sample, &detail, layer.as_ref(), filesystem, &name),
            });
        }
        Some(PodPoints {
            pod: Points {
                subject,
                points: metrics::network(&interfaces),
            },
            containers,
        })
    }
}

fn filesystem(store: &Path, devices: &mut Devices) -> Option<Filesystem> {
    let stat = rustix::fs::statvfs(store).ok()?;
    let device = fs::metadata(store).ok()?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    Some(Filesystem {
        device: devices.name((major, minor)),
        size: stat.f_blocks.saturating_mul(stat.f_frsize),
        inodes: stat.f_files,
        inodes_free: stat.f_ffree,
    })
}

/// Names of block devices by their numbers, asked once for each scrape.
#[derive(Default)]
struct Devices(HashMap<(u32, u32), String>);

impl Devices {
    fn name(&mut self, device: (u32, u32)) -> String {
        let name = self.0.entry(device).or_insert_with(|| {
            let (major, minor) = device;
            let event =
                fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/uevent")).unwrap_or_default();
            let name = event.lines().find_map(|line| line.strip_prefix("DEVNAME="));
            // A filesystem without a device of its own, such as btrfs', has numbers only.
            name.map_or_else(|| format!("{major}:{minor}"), |name| format!("/dev/{name}"))
        });
        name.clone()
    }

    fn known(&self, device: (u32, u32)) -> String {
        self.0.get(&device).cloned().unwrap_or_default()
    }
}
