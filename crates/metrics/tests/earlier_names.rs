//! Names of earlier versions keep working.

use engraft_metrics::{EvaluationProtocol, FeatureNetwork, Protocol, RealDataInfo, Scores};

#[test]
fn earlier_names_are_the_new_ones() {
    let real = RealDataInfo {
        data: "mnist",
        split: "test",
        sha256: "00",
    };
    let protocol: EvaluationProtocol = Protocol::new(&FeatureNetwork::mnist(), real, "none", 7);
    assert_eq!(protocol.seed, 7);
}

#[test]
fn scores_keep_the_spelling_of_their_field() {
    let scores = Scores {
        fid: 1.0,
        kid: 2.0,
        kid_se: 3.0,
        sliced_wasserstein: Some(3.5),
        precision: 4.0,
        recall: 5.0,
        density: 6.0,
        coverage: 7.0,
        diversity: 8.0,
        memorized: 9.0,
    };
    let json = serde_json::to_value(scores).unwrap();
    assert_eq!(json["memorised"], 9.0);
    assert_eq!(serde_json::from_value::<Scores>(json).unwrap(), scores);
}
