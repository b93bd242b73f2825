//! The statistics calls.

use std::{collections::HashMap, path::Path, sync::Arc};

use translate::stats::{
    messages::{self, Sample},
    network::{self, Interface},
};

use super::{
    Stats,
    place::{Measured, Place, Role},
    read::Reader,
    running::{attributes, pod_attributes},
};
use crate::{
    cni,
    error::Result,
    store::{ContainerView, SandboxView},
};

/// Running containers by their sandboxes' ids.
type ByPod = HashMap<String, Vec<Arc<ContainerView>>>;

impl Stats {
    /// ListContainerStats: those of running containers only, as with containerd.
    pub async fn list_containers(
        self: &Arc<Self>,
        filter: cri::ContainerStatsFilter,
    ) -> Result<Vec<cri::ContainerStats>> {
        let all = filter == cri::ContainerStatsFilter::default();
        let running = self
            .running(cri::ContainerFilter {
                id: filter.id,
                pod_sandbox_id: filter.pod_sandbox_id,
                label_selector: filter.label_selector,
                state: None,
            })
            .await?;
        if all {
            self.forget_others(None, &running);
        }
        let store = self.images.directory().await?;
        self.blocking(move |this| {
            let mut reader = Reader::new();
            let stats = |running: &Arc<ContainerView>| this.container(&mut reader, running, &store);
            running.iter().filter_map(stats).collect()
        })
        .await
    }

    /// ContainerStats. Of one that does not run there is its layer, if that was counted lately.
    pub async fn of_container(self: &Arc<Self>, id: &str) -> Result<cri::ContainerStats> {
        let container = self.store.container(id).await?;
        let id = &container.id;
        let filter = cri::ContainerStatsFilter {
            id: id.clone(),
            ..Default::default()
        };
        if let Some(stats) = self.list_containers(filter).await?.pop() {
            return Ok(stats);
        }
        let store = self.images.directory().await?.display().to_string();
        let layer = self.layers.get(id);
        Ok(messages::container(
            attributes(&container),
            None,
            layer.as_ref(),
            &store,
        ))
    }

    /// ListPodSandboxStats: those of running sandboxes.
    pub async fn list_pods(
        self: &Arc<Self>,
        filter: cri::PodSandboxStatsFilter,
    ) -> Result<Vec<cri::PodSandboxStats>> {
        let filter = cri::PodSandboxFilter {
            id: filter.id,
            label_selector: filter.label_selector,
            state: None,
        };
        let (pods, mut containers) = self.pods_and_containers(filter).await?;
        let store = self.images.directory().await?;
        self.blocking(move |this| {
            let mut reader = Reader::new();
            let mut stats = Vec::with_capacity(pods.len());
            for pod in &pods {
                let members = containers.remove(&pod.sandbox.id).unwrap_or_default();
                stats.extend(this.pod(&mut reader, pod, &members, &store));
            }
            stats
        })
        .await
    }

    /// PodSandboxStats. One that does not run has its attributes only.
    pub async fn of_pod(self: &Arc<Self>, id: &str) -> Result<cri::PodSandboxStats> {
        let sandbox = self.store.sandbox(id).await?;
        let filter = cri::PodSandboxStatsFilter {
            id: sandbox.id.clone(),
            ..Default::default()
        };
        if let Some(stats) = self.list_pods(filter).await?.pop() {
            return Ok(stats);
        }
        Ok(messages::pod(
            pod_attributes(&sandbox),
            None,
            None,
            "",
            Vec::new(),
        ))
    }

    /// The running sandboxes that `filter` lets pass, and the running containers by their sandboxes' ids.
    pub(super) async fn pods_and_containers(
        &self,
        filter: cri::PodSandboxFilter,
    ) -> Result<(Vec<Arc<SandboxView>>, ByPod)> {
        let all = filter == cri::PodSandboxFilter::default();
        let containers = self
            .running(cri::ContainerFilter {
                pod_sandbox_id: filter.id.clone(),
                ..Default::default()
            })
            .await?;
        let pods = self.running_pods(filter).await?;
        if all {
            self.forget_others(Some(&pods), &containers);
        }
        let mut by_pod = ByPod::new();
        for running in containers {
            by_pod
                .entry(running.container.sandbox_id.clone())
                .or_default()
                .push(running);
        }
        Ok((pods, by_pod))
    }

    /// One container; `None` if it has ended meanwhile.
    fn container(
        &self,
        reader: &mut Reader,
        running: &ContainerView,
        store: &Path,
    ) -> Option<cri::ContainerStats> {
        let (_, sample) = self.container_sample(reader, running, store)?;
        Some(self.container_message(running, &sample, store))
    }

    fn container_message(
        &self,
        running: &ContainerView,
        sample: &Sample,
        store: &Path,
    ) -> cri::ContainerStats {
        let layer = self.layers.get(&running.container.id);
        let mountpoint = store.to_string_lossy();
        messages::container(
            attributes(&running.container),
            Some(sample),
            layer.as_ref(),
            &mountpoint,
        )
    }

    pub(super) fn container_sample(
        &self,
        reader: &mut Reader,
        running: &ContainerView,
        store: &Path,
    ) -> Option<(Arc<Place>, Sample)> {
        let found = self
            .place(&running.inspect, Role::Member, store)
            .and_then(|place| self.sample(reader, &place.cgroup).map(|sample| (place, sample)));
        if found.is_none() {
            self.lose(&running.container.id);
        }
        found
    }

    /// One pod; `None` if it has ended meanwhile.
    fn pod(
        &self,
        reader: &mut Reader,
        pod: &SandboxView,
        members: &[Arc<ContainerView>],
        store: &Path,
    ) -> Option<cri::PodSandboxStats> {
        let members: Vec<_> = members
            .iter()
            .filter_map(|running| Some((running, self.container_sample(reader, running, store)?)))
            .collect();
        let found = self.place(&pod.inspect, Role::Pause, store).and_then(|place| {
            self.pod_sample(reader, &place, &members)
                .map(|sample| (place, sample))
        });
        let Some((place, sample)) = found else {
            self.lose(&pod.sandbox.id);
            return None;
        };
        let containers = members
            .iter()
            .map(|(running, (_, sample))| self.container_message(running, sample, store))
            .collect();
        let network = interfaces(pod, &place);
        Some(messages::pod(
            pod_attributes(&pod.sandbox),
            Some(&sample),
            network.as_deref(),
            cni::INTERFACE,
            containers,
        ))
    }

    /// The whole pod: its own cgroup or, where it has none, the sum of its containers, the pause container included.
    fn pod_sample(&self, reader: &mut Reader, place: &Place, members: &[Member<'_>]) -> Option<Sample> {
        let with_tasks = |reader: &mut Reader, mut sample: Sample, of: &Measured| {
            sample.tasks = reader.tasks(&of.cgroup);
            sample
        };
        if let Some(pod) = &place.pod {
            let sample = self.sample(reader, pod)?;
            return Some(with_tasks(reader, sample, pod));
        }
        let pause = self.sample(reader, &place.cgroup)?;
        let mut samples = vec![with_tasks(reader, pause, &place.cgroup)];
        for (_, (place, sample)) in members {
            samples.push(with_tasks(reader, *sample, &place.cgroup));
        }
        Some(Sample::sum(samples))
    }
}

/// A container of a pod, where it is and what it has used.
type Member<'a> = (&'a Arc<ContainerView>, (Arc<Place>, Sample));

/// The interfaces of a pod; `None` in the host's network, whose traffic is not the pod's.
pub(super) fn interfaces(pod: &SandboxView, place: &Place) -> Option<Vec<Interface>> {
    if pod.sandbox.host_network {
        return None;
    }
    place
        .proc_file("net/dev")
        .ok()
        .map(|text| network::interfaces(&text))
}
