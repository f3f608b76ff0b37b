use super::*;
use crate::audit::{AuditRecord, Settings, Sink as _};
use crate::clock::ManualClock;
use crate::suspicion::StateSize;

const NOW: u64 = 1_800_000_000;

fn admin(token: Option<&str>) -> Arc<Admin> {
    let clock = ManualClock::at(NOW);
    let bound = if token.is_some() { "0.0.0.0:9000" } else { "127.0.0.1:9000" };
    let token = token.map(|token| zeroize::Zeroizing::new(token.to_owned()));
    let sources = Sources {
        live: Arc::new(Live::new(&Settings::default(), clock.clone())),
        sinks: None,
        state: Arc::new(State::with_size(clock.clone(), StateSize::Small)),
        plans: Arc::default(),
        lookups: Some(Box::new(|| Some(Lookups { queued: 3, dropped: 1 }))),
        admission: Arc::default(),
        ready: Arc::new(AtomicBool::new(false)),
        clock,
    };
    Arc::new(Admin::new(Access::new(bound, bound.parse().unwrap(), token).unwrap(), sources))
}

fn record() -> AuditRecord {
    AuditRecord { time: Duration::from_secs(NOW), ..crate::audit::record::blank() }
}

fn ask(admin: &Arc<Admin>, method: Method, path: &str) -> Response<AdminBody> {
    let request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:9000").body(()).unwrap();
    admin.answer(&request)
}

async fn body(response: Response<AdminBody>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn the_page_shows_the_figures_without_a_script() {
    let admin = admin(None);
    admin.sources.live.record(Box::new(record()));
    let response = ask(&admin, Method::GET, "/");
    assert_eq!(response.status(), StatusCode::OK);
    let policy = response.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));
    let page = body(response).await;
    assert!(page.contains("1 request, and nobody is suspected."), "{page}");
    assert!(page.contains("<rect class=\"robots\"") && !page.contains(" style=") && !page.contains("onclick"));
    for out in ["http://", "https://", "{{", "{%"] {
        assert!(!page.replace("http://www.w3.org/2000/svg", "").contains(out), "{out}");
    }
}

#[test]
fn losses_of_every_sink_are_shown_by_its_name() {
    use crate::audit::{SinkKind, Sinks};
    let dir = std::env::temp_dir().join(format!("deckle-health-{}", std::process::id()));
    let settings = Settings {
        sinks: Some(vec![SinkKind::Combined, SinkKind::File]),
        dir: dir.display().to_string(),
        instance: Some("w1".into()),
        ..Settings::default()
    };
    let clock: SharedClock = ManualClock::at(NOW);
    let sinks = Sinks::open(&settings, &[], &clock, None, None).unwrap();
    sinks.close();
    // Too late: every sink loses it.
    sinks.record(Box::new(record()));
    let sources = Sources {
        live: Arc::new(Live::new(&Settings::default(), clock.clone())),
        sinks: Some(Arc::new(sinks)),
        state: Arc::new(State::with_size(clock.clone(), StateSize::Small)),
        plans: Arc::default(),
        lookups: None,
        admission: Arc::default(),
        ready: Arc::default(),
        clock,
    };
    let log = Document::now(&sources).log.unwrap();
    let lost: Vec<(&str, u64)> = log.dropped.iter().map(|count| (count.name, count.count)).collect();
    let expected = [("channel_full", 1), ("io", 0), ("disk_full", 0), ("shutdown", 0), ("combined", 1)];
    assert_eq!(lost, expected);
    std::fs::remove_dir_all(dir).unwrap();
}

#[tokio::test]
async fn what_visitors_send_stays_text() {
    let admin = admin(None);
    let mut odd = record();
    odd.user_agent = Some(b"</td><script>alert(1)</script>".to_vec());
    odd.assessment = Some(crate::suspicion::Assessment { score: 60, ..crate::suspicion::Assessment::unknown() });
    admin.sources.live.note(&odd);
    let page = body(ask(&admin, Method::GET, "/")).await;
    assert!(page.contains("alert(1)") && !page.contains("<script>alert"), "{page}");
}

#[tokio::test]
async fn every_path_answers_as_it_should() {
    let admin = admin(None);
    for path in ["/", "/dashboard.css", "/dashboard.js", "/events", "/snapshot.json", "/healthz"] {
        assert_eq!(ask(&admin, Method::GET, path).status(), StatusCode::OK, "{path}");
        assert_eq!(ask(&admin, Method::POST, path).status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
    assert_eq!(ask(&admin, Method::HEAD, "/").status(), StatusCode::OK);
    assert_eq!(ask(&admin, Method::GET, "/none").status(), StatusCode::NOT_FOUND);
    assert_eq!(ask(&admin, Method::GET, "/readyz").status(), StatusCode::SERVICE_UNAVAILABLE);
    admin.sources.ready.store(true, Ordering::Relaxed);
    assert_eq!(ask(&admin, Method::GET, "/readyz").status(), StatusCode::OK);
    // Figures are kept for a second, and this clock stands still.
    let json = body(ask(&self::admin(None), Method::GET, "/snapshot.json")).await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((json["ready"].as_bool(), json["lookups"]["queued"].as_u64()), (Some(false), Some(3)));
}

#[tokio::test]
async fn without_the_token_only_probes_are_answered() {
    let admin = admin(Some("0123456789abcdef"));
    for path in ["/", "/events", "/snapshot.json", "/metrics", "/dashboard.js", "/none"] {
        let response = ask(&admin, Method::GET, path);
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{path}");
        assert!(response.headers().contains_key("www-authenticate"));
    }
    assert_eq!(ask(&admin, Method::GET, "/healthz").status(), StatusCode::OK);
    let response = ask(&admin, Method::GET, "//evil.example/?token=0123456789abcdef");
    assert_eq!(
        (response.status(), &response.headers()["location"]),
        (StatusCode::SEE_OTHER, &HeaderValue::from_static("/"))
    );
    assert!(response.headers().contains_key("set-cookie"));
}

#[tokio::test]
async fn events_tell_what_is_new_and_places_are_given_back() {
    let admin = admin(None);
    let mut listeners: Vec<_> = (0..LISTENERS).map(|_| ask(&admin, Method::GET, "/events")).collect();
    assert_eq!(ask(&admin, Method::GET, "/events").status(), StatusCode::SERVICE_UNAVAILABLE);
    let mut first = listeners.remove(0).into_body();
    let frame = first.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(frame.starts_with(b"data: {") && frame.ends_with(b"}\n\n"));
    assert_eq!(memchr::memchr_iter(b'\n', &frame).count(), 2, "one line of data");
    drop(first);
    assert_eq!(ask(&admin, Method::GET, "/events").status(), StatusCode::OK);
}

#[cfg(feature = "metrics")]
#[tokio::test]
async fn metrics_are_in_the_text_format_and_few() {
    let admin = admin(None);
    admin.sources.live.note(&record());
    let response = ask(&admin, Method::GET, "/metrics");
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = body(response).await;
    let (mut series, mut known) = (std::collections::BTreeSet::new(), String::new());
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("# TYPE ") {
            head.split(' ').next().unwrap().clone_into(&mut known);
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().unwrap().is_finite(), "{line}");
            assert!(name.starts_with(&known) && known.starts_with("deckle_"), "{line}");
            let labels = name.split_once('{').map_or("", |(_, labels)| labels.strip_suffix('}').unwrap());
            let plain = |text: &str| !text.is_empty() && !text.contains(['"', '\\', '{', ' ', '/']);
            assert!(
                labels.split(',').filter(|l| !l.is_empty()).all(|label| {
                    let (label, of) = label.split_once("=\"").unwrap();
                    plain(label) && plain(of.strip_suffix('"').unwrap())
                }),
                "{line}"
            );
            assert!(series.insert(name.to_owned()), "twice: {line}");
        }
    }
    // Codes that show up only later: skips, clamps.
    assert!((250..400).contains(&series.len()), "{}", series.len());
    assert!(text.contains("deckle_requests_total{category=\"none\",action=\"none\"} 1\n"));
    assert!(text.contains("deckle_request_duration_seconds_bucket{le=\"+Inf\"} 1\n"));
    assert!(text.contains("deckle_verify_queue 3\n"));
    assert!(text.contains("deckle_plan_packed_total{effort=\"full\"} 0\n"));
    assert!(text.contains("deckle_plan_learned_total 0\n") && text.contains("deckle_plan_learned_hits_total 0\n"));
}

#[cfg(feature = "metrics")]
#[test]
fn the_grafana_dashboard_asks_for_metrics_that_exist() {
    let text = metrics::exposition(&Document::now(&admin(None).sources));
    let dashboard = include_str!("../../../docs/grafana.json");
    let dashboard: serde_json::Value = serde_json::from_str(dashboard).unwrap();
    let mut asked = 0;
    for target in
        dashboard["panels"].as_array().unwrap().iter().flat_map(|p| p["targets"].as_array().into_iter().flatten())
    {
        let expression = target["expr"].as_str().unwrap();
        for name in
            expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|n| n.starts_with("deckle_"))
        {
            let of_the_log = name.starts_with("deckle_audit_");
            let family = name.strip_suffix("_bucket").unwrap_or(name);
            assert!(of_the_log || text.contains(&format!("# TYPE {family} ")), "{name}");
            asked += 1;
        }
    }
    assert!(asked > 15, "{asked}");
}
