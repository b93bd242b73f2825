//! What is tested on a booted node: systemd, cgroup v2, the systemd cgroup driver, the distribution's
//! Engine. Runs in the virtual machine that `tests/vm/run.sh` boots, once for each boot.
//!
//! The scenarios of a boot build on each other, as the life of a node does, and run in the order in
//! which they stand here. What a boot leaves for the next one is kept in files.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cgroups;
mod documents;
mod logs;
mod node;
mod report;
mod scenarios;

use std::process::ExitCode;

use report::Scenario;
use scenarios::{
    apparmor, cri_dockerd, doctor, engine, extra, kubelet, limits, numbers, reboot, restart, selinux, setup,
    statistics, switch,
};

/// One boot of the machine.
struct Boot {
    scenarios: Vec<Scenario>,
    /// How the machine ends, if another boot follows.
    end: End,
}

#[derive(Clone, Copy)]
enum End {
    /// In order.
    Reboot = 100,
    /// As by a loss of power.
    Reset = 101,
}

fn boots() -> [Boot; 3] {
    [
        Boot {
            scenarios: vec![
                scenario!(setup::the_package_is_installed),
                scenario!(setup::the_first_call_starts_the_service),
                scenario!(numbers::fifty_pods, on_request: true),
                scenario!(limits::limits_are_in_the_cgroups_of_the_kubelets_slices),
                scenario!(limits::changed_limits_are_in_the_cgroup_and_stay),
                scenario!(limits::no_swap_and_small_limits_outlive_a_daemon_reload),
                scenario!(limits::a_container_that_runs_out_of_memory_ends_whole),
                scenario!(apparmor::profiles_are_in_force),
                scenario!(selinux::the_containers_of_a_pod_share_a_label, on_request: true),
                scenario!(selinux::labels_are_those_that_are_asked_for, on_request: true),
                scenario!(selinux::what_is_privileged_is_not_held, on_request: true),
                scenario!(selinux::volumes::mounts_are_labelled_where_it_is_asked_for, on_request: true),
                scenario!(selinux::a_confined_pod_has_all_it_needs, on_request: true),
                scenario!(statistics::statistics_are_the_kernels),
                scenario!(restart::a_restart_of_dockside_changes_nothing),
                scenario!(restart::a_killed_dockside_comes_back),
                scenario!(engine::a_restart_of_the_engine_ends_pods),
                scenario!(engine::with_live_restore_pods_outlive_the_engine),
                scenario!(doctor::the_doctor_finds_what_a_node_lacks),
                scenario!(cri_dockerd::both_ways_with_cri_dockerd, on_request: true),
                scenario!(kubelet::both_ways_under_a_kubelet, on_request: true),
                scenario!(extra::a_program_that_was_brought, on_request: true),
                scenario!(reboot::a_pod_is_left),
            ],
            end: End::Reboot,
        },
        Boot {
            scenarios: vec![
                scenario!(reboot::pods_of_the_boot_before_are_over),
                scenario!(reboot::a_pod_is_left),
            ],
            end: End::Reset,
        },
        Boot {
            scenarios: vec![
                scenario!(reboot::pods_of_the_boot_before_are_over),
                scenario!(switch::pods_outlive_the_package_and_the_change_of_units),
                scenario!(switch::an_installation_takes_nothing_away),
            ],
            end: End::Reboot,
        },
    ]
}

fn check(parts: &[String]) -> ExitCode {
    let boots = boots();
    let names: Vec<_> = boots
        .iter()
        .flat_map(|boot| &boot.scenarios)
        .map(|scenario| scenario.name)
        .collect();
    for part in parts {
        if !names.iter().any(|name| name.contains(part.as_str())) {
            eprintln!(
                "no scenario's name contains {part:?}; there are {}",
                names.join(", ")
            );
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Runs the tests of one boot: `vm-tests NUMBER [PART-OF-A-NAME...]`. The status says what comes next: 0 nothing,
/// 1 that something failed, others how the machine is to be booted again. Without parts of names it runs all tests;
/// measurements want to be named. `vm-tests check [PART-OF-A-NAME...]` runs nothing, and fails for a part that is in no name.
#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|word| word == "check") {
        return check(&arguments[1..]);
    }
    let number = arguments.first().and_then(|number| number.parse::<usize>().ok());
    let number = number.expect("the number of the boot, from 0");
    let wanted = |scenario: &Scenario| {
        let named = arguments[1..]
            .iter()
            .any(|part| scenario.name.contains(part.as_str()));
        // Without it there is nothing to test.
        let needed = scenario.name == "setup::the_package_is_installed";
        named || needed || (arguments.len() == 1 && !scenario.on_request)
    };
    let boots = boots();
    if report::run(boots[number].scenarios.iter().filter(|scenario| wanted(scenario))).await > 0 {
        return ExitCode::FAILURE;
    }
    if boots[number + 1..]
        .iter()
        .any(|boot| boot.scenarios.iter().any(wanted))
    {
        return ExitCode::from(boots[number].end as u8);
    }
    ExitCode::SUCCESS
}
