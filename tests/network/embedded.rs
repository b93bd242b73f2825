//! `--network-plugin=docker`: a bridge of the Engine's.

use std::{
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    process::Command,
    time::Duration,
};

use cri::Protocol;
use support::{Engine, Env, Options, eventually};

use super::{
    net::{PAGE, addresses, condition, http, remove, stop, web},
    ports::{free_port, mapping},
};

fn options(cidr: &str) -> Options {
    let options = support::daemon!().flag("--network-plugin=docker");
    options.flag(format!("--pod-cidr={cidr}"))
}

fn remove_network() {
    let (status, answer) = Engine::get().call("DELETE", "/networks/dockside", None);
    assert!(status < 300 || status == 404, "{status} {answer}");
}

/// One test, since the network is the Engine's and there is one.
#[tokio::test(flavor = "multi_thread")]
async fn pods_are_on_a_bridge_of_the_engines() {
    remove_network();
    let daemon_of_range = options("10.213.7.0/24").start().await;
    let daemon = &daemon_of_range;
    assert!(condition(daemon, "NetworkReady").await.status);
    let mut pod = daemon.pod("web");
    let (anywhere, local, udp) = (free_port(), free_port(), free_port());
    pod.port_mappings = vec![
        mapping(Protocol::Tcp, "", anywhere, 80),
        mapping(Protocol::Tcp, "127.0.0.1", local, 80),
        mapping(Protocol::Udp, "", udp, 53),
    ];
    let sandbox = daemon.run_pod(&pod).await;
    let ip = addresses(daemon, &sandbox).await.remove(0);
    assert!(ip.starts_with("10.213.7."), "{ip} is not in --pod-cidr");
    let id = web(daemon, &sandbox, &pod).await;
    let inside = daemon.sh(&id, "ip -o -4 addr show eth0").await;
    assert!(inside.contains(&format!(" {ip}/24 ")), "{inside}");
    let pod_ip: IpAddr = ip.parse().unwrap();
    assert!(http(SocketAddr::new(pod_ip, 80)).contains(PAGE));
    let node: IpAddr = "10.213.7.1".parse().unwrap();
    let loopback: IpAddr = "127.0.0.1".parse().unwrap();
    for address in [(loopback, anywhere), (node, anywhere), (loopback, local)] {
        assert!(http(address.into()).contains(PAGE), "{address:?}");
    }
    let elsewhere = SocketAddr::new(node, local);
    assert!(
        TcpStream::connect_timeout(&elsewhere, Duration::from_secs(1)).is_err(),
        "only on its host IP"
    );

    // The test image has no server for UDP.
    let pid = Engine::get().inspect(&sandbox)["State"]["Pid"].to_string();
    let script = "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.bind(('', 53))\n\
                  while True: s.sendto(b'heard', s.recvfrom(9)[1])";
    let mut server = Command::new("nsenter")
        .args(["-n", "-t", &pid])
        .arg(&Env::get().python)
        .args(["-c", script])
        .spawn()
        .unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    eventually("an answer by UDP", Duration::from_secs(10), || {
        socket.send_to(b"x\n", (loopback, udp)).ok()?;
        let mut answer = [0; 100];
        let length = socket.recv(&mut answer).ok()?;
        answer[..length].starts_with(b"heard").then_some(())
    });
    server.kill().unwrap();
    server.wait().unwrap();
    stop(daemon, &sandbox).await;
    assert!(TcpStream::connect((loopback, anywhere)).is_err());
    assert_eq!(addresses(daemon, &sandbox).await, [""; 0]);
    remove(daemon, &sandbox).await;

    // Removed by somebody: it is made again.
    remove_network();
    let sandbox = daemon.run_pod(&daemon.pod("again")).await;
    assert!(addresses(daemon, &sandbox).await[0].starts_with("10.213.7."));
    remove(daemon, &sandbox).await;
    assert_eq!(Engine::get().named(&format!("_{}_", daemon.name())).len(), 0);

    // The Engine says "not found" of a missing pause image as well, whether the network is there or not.
    let port = Env::get().registry.rsplit(':').next().unwrap();
    let pause = format!("localhost:{port}/pause:3.10");
    let unpulled = || {
        let (status, answer) = Engine::get().call("DELETE", &format!("/images/{pause}"), None);
        assert!(status < 300 || status == 404, "{status} {answer}");
    };
    let flag = format!("--pod-infra-container-image={pause}");
    let daemon = options("10.213.7.0/24").flag(flag).start().await;
    for there in [true, true, false] {
        unpulled();
        if !there {
            remove_network();
        }
        // Two at once may both find that something is missing.
        let pods = ["one", "two"].map(|name| daemon.pod(name));
        for sandbox in futures_util::future::join_all(pods.iter().map(|pod| daemon.run_pod(pod))).await {
            assert!(addresses(&daemon, &sandbox).await[0].starts_with("10.213.7."));
            remove(&daemon, &sandbox).await;
        }
    }
    unpulled();
    remove_network();
}
