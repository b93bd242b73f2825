//! Operations at random, by CRI and behind its back, while the way to the Engine is as bad as it can be.

use std::time::{Duration, Instant};

use cri::{PodSandboxConfig, RemoveContainerRequest, StopContainerRequest};
use support::{Action, Daemon, Engine, EngineProxy, Rule, container_of};

use super::view::Pair;

/// How long operations go on.
const TIME: Duration = Duration::from_secs(5);

/// Numbers that a seed determines.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

struct Node<'a> {
    daemon: &'a Daemon,
    image: String,
    pod: PodSandboxConfig,
    sandbox: String,
    containers: Vec<String>,
    count: usize,
    done: Vec<String>,
}

impl Node<'_> {
    /// One operation. It may fail: what counts is what is told of it.
    async fn step(&mut self, random: &mut Random) {
        let engine = Engine::get();
        let mut runtime = self.daemon.runtime();
        let kind = random.below(12);
        let Some(id) = (!self.containers.is_empty())
            .then(|| self.containers[random.below(self.containers.len())].clone())
            .filter(|_| kind > 2 || self.containers.len() >= 8)
        else {
            self.count += 1;
            let script = ["sleep 1000", "exit 1", "sleep 0.2"][random.below(3)];
            let name = format!("c{}", self.count);
            let config = container_of(&self.pod, &name, &self.image, &["sh", "-c", script]);
            if let Ok(id) = self.daemon.try_create(&self.sandbox, &self.pod, &config).await {
                self.containers.push(id);
            }
            self.done.push(format!("create {name}"));
            return;
        };
        self.done.push(format!("{kind} {}", &id[..12]));
        // By hand: refusals do not matter.
        let post = |path: String| drop(engine.call("POST", &path, None));
        match kind {
            0..=4 => {
                let request = cri::StartContainerRequest { container_id: id };
                let _ = runtime.start_container(request).await;
            }
            5 => {
                let request = StopContainerRequest {
                    container_id: id,
                    timeout: 0,
                };
                let _ = runtime.stop_container(request).await;
            }
            6 => {
                let request = RemoveContainerRequest {
                    container_id: id.clone(),
                };
                let _ = runtime.remove_container(request).await;
                if engine.find(&id).is_none() {
                    self.containers.retain(|other| *other != id);
                }
            }
            7 => post(format!("/containers/{id}/kill")),
            8 => post(format!("/containers/{id}/start")),
            9 => post(format!(
                "/containers/{id}/rename?name=k8s_r{}_{}_{}",
                self.count,
                self.daemon.name(),
                &id[..12]
            )),
            10 => {
                post(format!("/containers/{id}/pause"));
                post(format!("/containers/{id}/unpause"));
            }
            _ => {
                engine.remove(&id);
                self.containers.retain(|other| *other != id);
            }
        }
    }
}

/// Makes the way to the Engine worse, or better.
fn disturb(proxy: &EngineProxy, random: &mut Random) {
    match random.below(6) {
        0 => {
            proxy.go_down();
            proxy.come_back();
        }
        1 | 2 => {
            let slow = Action::DelayAnswer(Duration::from_millis(50 + random.below(300) as u64));
            proxy.rule(Rule::on("GET", "/containers/{id}/json", slow).times(5));
        }
        3 => {
            let cut = Action::Cut(random.below(300));
            proxy.rule(Rule::on("GET", "/containers/{id}/json", cut).times(2));
        }
        _ => {}
    }
}

/// Does things at random, and compares what is told when all is at rest.
async fn play(seed: u64, garble: bool) {
    let proxy = EngineProxy::start();
    if garble {
        proxy.rule(Rule::on("GET", "/events", Action::Garble(seed)));
    }
    let options = support::daemon!().engine(proxy.socket());
    let pair = Pair::new(options.flag("--store-check-interval=1s")).await;
    let daemon = &pair.on;
    let image = daemon.pull("busybox:1").await;
    let pod = daemon.pod("random");
    let sandbox = daemon.run_pod(&pod).await;
    let mut node = Node {
        daemon,
        image,
        pod,
        sandbox,
        containers: Vec::new(),
        count: 0,
        done: Vec::new(),
    };
    let mut random = Random(seed);
    let began = Instant::now();
    while began.elapsed() < TIME {
        node.step(&mut random).await;
        if random.below(4) == 0 {
            tokio::task::block_in_place(|| disturb(&proxy, &mut random));
        }
        if random.below(4) == 0 {
            // Readers come at bad moments, too; none of them may see an empty node.
            let list = daemon
                .runtime()
                .list_pod_sandbox(cri::ListPodSandboxRequest::default())
                .await;
            if let Ok(list) = list {
                assert!(list.into_inner().items.iter().any(|item| item.id == node.sandbox));
            }
        }
    }
    proxy.clear_rules();
    pair.come_to_agree(&format!("seed {seed}: {:?}", node.done)).await;
    if !garble {
        assert!(
            !daemon.log().contains("was missed"),
            "seed {seed}: {:?}",
            node.done
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_broken_calls_leave_no_error_behind() {
    for seed in [0x0123_4567_89ab_cdef, 0x0bad_cafe_0bad_cafe] {
        play(seed, false).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_doubled_and_exchanged_events_leave_no_error_behind() {
    for seed in [0x1357_9bdf_0246_8ace, 0x5eed_5eed_5eed_5eed] {
        play(seed, true).await;
    }
}
