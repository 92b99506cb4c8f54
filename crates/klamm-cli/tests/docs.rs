//! The reference pages are what the declarations render. With KLAMM_UPDATE_DOCS=1 in the
//! environment this test writes them instead of comparing.

use std::path::Path;

fn check(name: &str, rendered: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(name);
    if std::env::var_os("KLAMM_UPDATE_DOCS").is_some_and(|value| value == "1") {
        std::fs::write(&path, rendered).expect("the checkout can be written");
    }
    let kept = std::fs::read_to_string(&path).expect("the page is there");
    assert!(kept == rendered, "docs/reference/{name} is stale: run cargo xtask docs");
}

#[test]
fn the_reference_of_configs_is_what_is_declared() {
    check("configs.md", &klamm_config::render_reference());
}

#[test]
fn the_reference_of_metrics_is_what_is_declared() {
    check("metrics.md", &klamm_metrics::render_reference());
}
