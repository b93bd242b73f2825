use super::*;

#[tokio::test]
async fn namespaces_outlive_their_processes_in_pins() {
    let dir = TempDir::new().unwrap();
    let pins = netns::Pins::new(dir.path().join("netns"));
    assert_eq!(pins.list().unwrap(), Vec::<String>::new());
    pins.unpin("pod").unwrap();
    let pod = Pod::new();
    let id = netns::namespace_id(&pod.netns()).unwrap();
    let path = pins.pin(pod.0.id(), "pod").unwrap();
    assert_eq!(pins.pin(pod.0.id(), "pod").unwrap(), path);
    assert_eq!(path, pins.path("pod").unwrap());
    let other = Pod::new();
    let error = pins.pin(other.0.id(), "pod").unwrap_err().to_string();
    assert!(error.contains("is namespace"), "{error}");
    // What a crash between the two steps leaves is no pin, and is no hindrance.
    fs::write(dir.path().join("netns/half"), "").unwrap();
    assert_eq!(pins.list().unwrap(), ["pod"]);
    let half = pins.pin(other.0.id(), "half").unwrap();
    assert_eq!(pins.list().unwrap(), ["half", "pod"]);
    assert!(netns::inhabited().unwrap().contains(&id));
    let gone = pod.netns();
    drop(pod);
    assert!(netns::namespace_id(&gone).is_err());
    let inhabited = netns::inhabited().unwrap();
    assert!(!inhabited.contains(&id) && inhabited.contains(&netns::namespace_id(&half).unwrap()));
    netns::verify(&path, id).unwrap();
    let net = format!("--net={}", path.display());
    let entered = Command::new("nsenter")
        .args([net.as_str(), "true"])
        .status()
        .unwrap();
    assert!(entered.success());
    for name in ["pod", "half", "pod"] {
        pins.unpin(name).unwrap();
    }
    assert!(netns::namespace_id(&path).is_err());
    assert_eq!(fs::read_dir(dir.path().join("netns")).unwrap().count(), 0);

    for name in ["", "..", "a/b"] {
        assert!(pins.pin(other.0.id(), name).is_err());
    }
    let error = pins.pin(std::process::id(), "own").unwrap_err().to_string();
    assert!(
        error.ends_with("is the network namespace of this node"),
        "{error}"
    );
    assert!(pins.pin(u32::MAX, "none").is_err());
}
