//! Image requests and credentials.

use proptest::prelude::*;
use translate::image::{ImageQuery, ImageReference, filter, registry_auth};

use super::generate::{Manner, is_field, message};

proptest! {
    #[test]
    fn any_image_name_is_read_or_refused(spec in message::<cri::ImageSpec>("ImageSpec", Manner::Wild)) {
        if let Ok(query) = ImageQuery::parse(&spec.image) {
            prop_assert!(!query.engine_name().is_empty());
        }
        if let Ok(reference) = ImageReference::parse(&spec.image) {
            let target = reference.pull_target();
            prop_assert!(!target.tag.is_empty(), "without one the engine pulls every tag: {:?}", target);
        }
    }

    #[test]
    fn any_image_filter_is_read_or_refused(
        asked in message::<cri::ImageFilter>("ImageFilter", Manner::Wild),
    ) {
        if let Err(error) = filter(Some(&asked)) {
            prop_assert!(!error.field.is_empty() && !error.why.is_empty());
        }
    }

    #[test]
    fn any_credentials_are_taken_or_refused_without_being_repeated(
        mut auth in message::<cri::AuthConfig>("AuthConfig", Manner::Wild),
        states_server in any::<bool>(),
        password in "[a-zA-Z0-9]{24}",
    ) {
        auth.password.clone_from(&password);
        if !states_server {
            auth.server_address.clear();
        }
        let reference = ImageReference::parse("registry.example/app:1").unwrap();
        match registry_auth(Some(&auth), &reference) {
            Ok(Some(taken)) => {
                prop_assert_eq!(taken.server_address(), "registry.example");
                prop_assert!(!taken.header().is_empty());
                let shown = format!("{taken:?}");
                prop_assert!(!shown.contains(&password));
            }
            Ok(None) => {}
            Err(error) => {
                prop_assert!(is_field("PullImageRequest", &error.field), "{}", error);
                // A few characters may stand in any sentence.
                prop_assert!(auth.auth.len() < 8 || !error.why.contains(&auth.auth));
            }
        }
    }
}
