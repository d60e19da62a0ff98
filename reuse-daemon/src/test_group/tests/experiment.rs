//! Experiments over real groups: what moves is what the kernel moves, and the regular probes go on.

use reuse_model::test_group::Cause;

use super::*;

#[tokio::test]
async fn flows_move_as_the_kernels_array_says_and_only_then() {
    let group = open(config(1000));
    let groups = group.groups().len();
    // One that counts and tells the same hash for every probe; one that says nothing is asked again and again.
    let running = Running::start(group, selecting(0, 0));
    let Running { mut observations, experiments, task } = running;
    let asking = tokio::spawn(async move { experiments.ask().await });
    let mut told = Vec::new();
    while told.len() < groups {
        match timeout(10 * PATIENCE, observations.recv()).await.expect("in time").expect("at work") {
            Observation::Experiment(experiment) => told.push(experiment),
            Observation::Probe(probe) => assert!(probe.members == 4, "{probe:?}"),
            Observation::Finding { finding, .. } => panic!("{finding:?}"),
        }
    }
    let answered = timeout(PATIENCE, asking).await.expect("in time").expect("no panic").expect("an answer");
    assert_eq!(answered, told, "who asks gets what is told");
    for experiment in &told {
        let done: Vec<_> = experiment.steps.iter().map(|step| (step.cause, step.place, step.after)).collect();
        let wanted = [
            (None, None, 4),
            (Some(Cause::Join), Some(4), 5),
            (Some(Cause::Leave), Some(4), 4),
            (Some(Cause::Leave), Some(0), 3),
            (Some(Cause::Join), Some(3), 4),
        ];
        assert_eq!(done, wanted, "{experiment:?}");
        for step in &experiment.steps {
            // Of 256: a source port may be somebody else's for a moment, of another test's for instance.
            assert!(step.tried >= 230, "{step:?} of {:?}", experiment.group);
            let share = step.moved as f64 / step.tried as f64;
            // Six standard deviations: by chance once in 500 million.
            let room = 6.0 * (step.expected_share * (1.0 - step.expected_share) / step.tried as f64).sqrt();
            assert!((share - step.expected_share).abs() <= room, "{step:?} of {:?}", experiment.group);
            assert!(step.contradicted > step.tried / 3, "not every flow goes to the first member: {step:?}");
        }
    }
    drop(observations);
    timeout(PATIENCE, task).await.expect("it stops").expect("no panic").expect("no error");
}
