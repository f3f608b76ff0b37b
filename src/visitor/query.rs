//! The query of an address: which of its parameters tell only how somebody came.

/// Parameters that newsletters, networks and counters hang on an address. Most are left out by a page cache for WordPress,
/// too: <https://developers.cloudflare.com/automatic-platform-optimization/reference/query-parameters/>. All of `utm_…` come on
/// top.
const TRACKING: [&str; 19] = [
    "_ga",
    "_gl",
    "dclid",
    "epik",
    "fb_action_ids",
    "fb_action_types",
    "fb_source",
    "fbclid",
    "gbraid",
    "gclid",
    "gclsrc",
    "igshid",
    "mc_cid",
    "mc_eid",
    "mkt_tok",
    "msclkid",
    "ttclid",
    "twclid",
    "wbraid",
];

/// Does a parameter, `name=value`, tell only how somebody came? Sites show the same page without it.
pub(crate) fn is_tracking(parameter: &str) -> bool {
    let name = parameter.split('=').next().unwrap_or_default();
    name.starts_with("utm_") || TRACKING.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_a_page_is_not_left_out() {
        for tracking in ["utm_source=x", "utm_id", "fbclid=1", "gclid=", "mc_eid"] {
            assert!(is_tracking(tracking), "{tracking}");
        }
        for other in ["", "=utm_source", "p=1", "id=fbclid", "page=2", "utm", "FBCLID=1", "ref=x"] {
            assert!(!is_tracking(other), "{other}");
        }
        assert!(TRACKING.is_sorted());
    }
}
