//! Credentials, and how pulls fail.

use cri::{AuthConfig, ImageSpec, PullImageRequest};
use support::{Action, Daemon, EngineProxy, Env, Rule};
use tonic::{Code, Status};

pub(crate) fn spec(image: impl Into<String>) -> Option<ImageSpec> {
    Some(ImageSpec {
        image: image.into(),
        ..Default::default()
    })
}

pub(crate) async fn pull(
    daemon: &Daemon,
    image: impl Into<String>,
    auth: Option<AuthConfig>,
) -> Result<String, Status> {
    let request = PullImageRequest {
        image: spec(image),
        auth,
        ..Default::default()
    };
    Ok(daemon.images().pull_image(request).await?.into_inner().image_ref)
}

fn password(password: &str) -> AuthConfig {
    AuthConfig {
        username: Env::get().registry_user.clone(),
        password: password.into(),
        ..Default::default()
    }
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_open_the_registry_and_wrong_ones_do_not() {
    let daemon = support::daemon!().start().await;
    let env = Env::get();
    let image = format!("{}/member:latest", env.registry_auth);
    let pair = format!("{}:{}", env.registry_user, env.registry_password);
    assert!(base64(&pair).contains(['+', '/']), "the password is awkward");
    let in_one = AuthConfig {
        auth: base64(&pair),
        ..Default::default()
    };
    let with_server = AuthConfig {
        server_address: format!("https://{}/v1/", env.registry_auth),
        ..password(&env.registry_password)
    };
    let mut ids = Vec::new();
    for auth in [password(&env.registry_password), in_one, with_server] {
        ids.push(pull(&daemon, &image, Some(auth)).await.unwrap());
    }
    ids.push(daemon.pull("member:latest").await);
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    for auth in [None, Some(password("wrong")), Some(AuthConfig::default())] {
        let error = pull(&daemon, &image, auth.clone()).await.unwrap_err();
        assert_eq!(error.code(), Code::PermissionDenied, "{auth:?}: {error}");
        assert!(error.message().contains(&image), "{error}");
    }
    assert!(
        !daemon.log().contains(&env.registry_password),
        "passwords are not logged"
    );
    assert!(!daemon.log().contains(&base64(&pair)));
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_none_are_refused() {
    let daemon = support::daemon!().start().await;
    let image = format!("{}/member:latest", Env::get().registry_auth);
    for text in ["%%%", "bm9jb2xvbg=="] {
        let auth = AuthConfig {
            auth: text.into(),
            ..Default::default()
        };
        let error = pull(&daemon, &image, Some(auth)).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{text}: {error}");
        assert!(error.message().contains("auth"), "{error}");
        assert!(!error.message().contains(text), "it may be a secret: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_have_the_codes_and_words_that_the_kubelet_looks_for() {
    let daemon = support::daemon!().start().await;
    let env = Env::get();
    let down = pull(&daemon, format!("{}/x:1", env.registry_down), None)
        .await
        .unwrap_err();
    assert_eq!(down.code(), Code::Unknown, "{down}");
    assert!(down.message().starts_with("RegistryUnavailable"), "{down}");
    for missing in ["busybox:none", "no/such/image:1", "no-such-image"] {
        let error = pull(&daemon, env.image(missing), None).await.unwrap_err();
        assert_eq!(error.code(), Code::NotFound, "{missing}: {error}");
        assert!(error.message().contains(missing), "{error}");
    }
    let absent = format!("busybox@sha256:{}", "0".repeat(64));
    let error = pull(&daemon, env.image(&absent), None).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_none_are_refused() {
    let proxy = EngineProxy::start();
    let daemon = support::daemon!().engine(proxy.socket()).start().await;
    let mut bad = vec![
        String::new(),
        " ".into(),
        "127.0.0.1/UPPER:1".into(),
        "a:b:c".into(),
        "image:".into(),
        "image@sha256:12".into(),
        "http://127.0.0.1/x".into(),
        "../../etc/passwd".into(),
        "x\n:1".into(),
        "-".into(),
        "é".into(),
    ];
    bad.push("a".repeat(100_000));
    for name in bad {
        let error = pull(&daemon, &name, None).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{name:?}: {error}");
        assert!(error.message().contains("image.image"), "{name:?}: {error}");
        assert!(error.message().len() < 10_000, "an error is for reading");
    }
    let nothing = daemon.images().pull_image(PullImageRequest::default()).await;
    assert_eq!(nothing.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(proxy.calls().of("POST", "/images/create"), 0);
}

/// Half an answer is no success, and a registry's refusal that the Engine reports is the registry's.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_cut_off_or_garbled_are_failures() {
    let proxy = EngineProxy::start();
    let daemon = support::daemon!().engine(proxy.socket()).start().await;
    let too_many = "toomanyrequests: You have reached your pull rate limit";
    for (action, code, words) in [
        (Action::Cut(20), None, ""),
        (Action::Refuse, Some(Code::Unavailable), ""),
        (Action::Answer(200, "no progress".into()), None, "progress"),
        (
            Action::Answer(200, serde_json::json!({ "error": "" })),
            None,
            "no reason",
        ),
        (
            Action::Answer(500, serde_json::json!({ "message": too_many })),
            Some(Code::Unknown),
            "RegistryUnavailable",
        ),
        (
            Action::Answer(
                200,
                serde_json::json!({ "errorDetail": { "message": "no space left on device" } }),
            ),
            Some(Code::Unknown),
            "no space left",
        ),
    ] {
        let shown = format!("{action:?}");
        proxy.clear_rules();
        proxy.rule(Rule::on("POST", "/images/create", action));
        let error = pull(&daemon, Env::get().image("busybox:1"), None)
            .await
            .unwrap_err();
        assert!(code.is_none_or(|code| error.code() == code), "{shown}: {error}");
        assert!(error.message().contains(words), "{shown}: {error}");
        assert_ne!(error.code(), Code::NotFound, "{shown}: {error}");
    }
    proxy.clear_rules();
    daemon.pull("busybox:1").await;
}
