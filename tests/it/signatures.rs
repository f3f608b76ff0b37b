//! Robots that sign their requests: curl asks, openssl signs, and the log says who it was.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use data_encoding::{BASE64, BASE64URL_NOPAD};
use deckle::DeckleLayer;
use deckle::audit::{AuditRecord, Sink};
use deckle::clock::{ManualClock, SystemClock};
use deckle::config::Config;
use deckle::secret::Secrets;
use deckle::visitor::{Directories, Directory};
use sha2::{Digest, Sha256};

use crate::support::{TempDir, has};

const CONFIG: &str = r#"
mode = "enforce"
[visitor]
trusted_proxies = ["127.0.0.1/32"]
[visitor.botauth]
directories = ["https://crawler.example", "https://chatgpt.com", "https://late.example"]
[page]
origin = "https://news.example"
[proxy]
hosts = ["www.news.example"]
[action.policy.agents]
"crawler.example" = "block"
"#;
const GOOGLEBOT: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
const CHROME: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<String>>>);

impl Sink for Memory {
    fn record(&self, record: Box<AuditRecord>) {
        let visitor = record.visitor.unwrap();
        let method = visitor.verification_method.map_or("-", |method| method.code());
        let who = visitor.agent.name.as_deref().unwrap_or("-").to_owned();
        let line = format!("{} {who} {} {method}", visitor.agent.category, visitor.verification.code());
        self.0.lock().unwrap().push(line);
    }
}

/// A site behind the layer, and the operator of a robot with its key.
struct Rig {
    dir: TempDir,
    address: SocketAddr,
    seen: Memory,
    directories: Arc<Directories>,
    keyid: String,
    keys: Directory,
    _runtime: tokio::runtime::Runtime,
}

impl Rig {
    fn new() -> Self {
        let dir = TempDir::new();
        let key = dir.path().join("key.pem");
        openssl(&["genpkey", "-algorithm", "ed25519", "-out", key.to_str().unwrap()]);
        // The last 32 bytes of the structure are the key (RFC 8410 §4).
        let public = openssl(&["pkey", "-in", key.to_str().unwrap(), "-pubout", "-outform", "DER"]);
        let x = BASE64URL_NOPAD.encode(&public[public.len() - 32..]);
        let members = format!("{{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"{x}\"}}");
        let keyid = BASE64URL_NOPAD.encode(&Sha256::digest(members.as_bytes()));
        let keys = Directory::parse(format!("{{\"keys\":[{members}]}}").as_bytes()).unwrap();
        let config = Config::from_toml(CONFIG).unwrap();
        let directories = Arc::new(Directories::new(&config.visitor.botauth.directories).unwrap());
        for origin in ["https://crawler.example", "https://chatgpt.com"] {
            assert!(directories.replace(origin, keys.clone()));
        }
        // Not in the first minute, in which nobody is refused.
        let clock = ManualClock::at(unix_now() - 120);
        let seen = Memory::default();
        let layer = DeckleLayer::builder()
            .config(config)
            .secret(Secrets::random().unwrap())
            .directories(Arc::clone(&directories))
            .sink(seen.clone())
            .clock(clock.clone())
            .build()
            .unwrap();
        clock.advance(Duration::from_secs(120));
        let app = axum::Router::new().fallback(async || "A page of the site.").layer(layer);
        let service = app.into_make_service_with_connect_info::<SocketAddr>();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, service).await });
        Self { dir, address, seen, directories, keyid, keys, _runtime: runtime }
    }

    /// The three fields of a signature by `operator` for `host`.
    fn signed(&self, operator: &str, host: &str) -> Vec<String> {
        let now = unix_now();
        let covered = "(\"@authority\" \"signature-agent\";key=\"sig1\")";
        let params = format!(
            "{covered};created={now};expires={};keyid=\"{}\";alg=\"ed25519\";tag=\"web-bot-auth\"",
            now + 300,
            self.keyid
        );
        let base = format!(
            "\"@authority\": {host}\n\"signature-agent\";key=\"sig1\": \"https://{operator}\"\n\"@signature-params\": {params}"
        );
        let (file, key) = (self.dir.path().join("base"), self.dir.path().join("key.pem"));
        std::fs::write(&file, base).unwrap();
        let (file, key) = (file.to_str().unwrap(), key.to_str().unwrap());
        let signature = openssl(&["pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", file]);
        vec![
            format!("Signature-Agent: sig1=\"https://{operator}\""),
            format!("Signature-Input: sig1={params}"),
            format!("Signature: sig1=:{}:", BASE64.encode(&signature)),
        ]
    }

    /// The status, and what the log says of it.
    fn get(&self, agent: &str, host: &str, from: &str, fields: &[String]) -> (String, String) {
        let mut curl = Command::new("curl");
        curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-A", agent, "--max-time", "20"]);
        curl.args(["-H", &format!("Host: {host}"), "-H", &format!("X-Forwarded-For: {from}")]);
        curl.args(fields.iter().flat_map(|field| ["-H", field]));
        let out = curl.arg(format!("http://{}/news/a-b-c", self.address)).output().unwrap();
        let line = self.seen.0.lock().unwrap().pop().unwrap();
        (String::from_utf8(out.stdout).unwrap(), line)
    }
}

fn unix_now() -> u64 {
    SystemClock::shared().unix().as_secs()
}

fn openssl(arguments: &[&str]) -> Vec<u8> {
    let out = Command::new("openssl").args(arguments).stderr(Stdio::inherit()).output().unwrap();
    assert!(out.status.success(), "{arguments:?}");
    out.stdout
}

/// Debian's openssl knows `version`, not `--version`.
fn tools() -> bool {
    let there = has("curl") && Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_ok();
    if !there {
        eprintln!("skipped: curl and openssl are needed");
    }
    there
}

#[test]
fn a_signature_says_who_asks_whatever_the_user_agent_does() {
    if !tools() {
        return;
    }
    let rig = Rig::new();
    let status_and_line = |agent: &str, fields: &[String]| {
        let (status, line) = rig.get(agent, "news.example", "203.0.113.1", fields);
        format!("{status} {line}")
    };
    assert_eq!(status_and_line(CHROME, &[]), "200 browser - none -");
    let crawler = rig.signed("crawler.example", "news.example");
    // Who calls itself Googlebot and signs as somebody else is that somebody.
    assert_eq!(status_and_line(GOOGLEBOT, &crawler), "403 unknown-bot crawler.example verified signature");
    // The table knows whose host that is.
    let chatgpt = rig.signed("chatgpt.com", "news.example");
    assert_eq!(status_and_line(CHROME, &chatgpt), "200 ai-user ChatGPT-User verified signature");
}

#[test]
fn what_does_not_hold_proves_nothing() {
    if !tools() {
        return;
    }
    let rig = Rig::new();
    let line = |host: &str, from: &str, fields: &[String]| rig.get(CHROME, host, from, fields).1;
    let signed = rig.signed("chatgpt.com", "news.example");
    // Another name of this site, which the signature was not made for; and a name that is none of its own.
    assert_eq!(line("www.news.example", "203.0.113.1", &signed), "browser - failed signature");
    assert_eq!(line("evil.example", "203.0.113.1", &signed), "browser - unverifiable -");
    assert_eq!(line("news.example", "203.0.113.1", &signed), "ai-user ChatGPT-User verified signature");
    assert_eq!(line("news.example", "198.51.100.1", &signed), "browser - failed signature", "a copy from elsewhere");
    let mut forged = rig.signed("chatgpt.com", "news.example");
    forged[1] = forged[1].replacen(";expires=", ";expires=1", 1);
    assert_eq!(line("news.example", "203.0.113.1", &forged), "browser - unverifiable -", "made for centuries");
    let stranger = rig.signed("stranger.example", "news.example");
    assert_eq!(line("news.example", "203.0.113.1", &stranger), "browser - unverifiable -");
}

#[test]
fn keys_that_come_later_prove_later_requests() {
    if !tools() {
        return;
    }
    let rig = Rig::new();
    let line = || rig.get(CHROME, "news.example", "203.0.113.1", &rig.signed("late.example", "news.example")).1;
    assert_eq!(line(), "browser - unverifiable -", "a name that anybody may write is worth nothing until then");
    rig.directories.replace("https://late.example", rig.keys.clone());
    assert_eq!(line(), "unknown-bot late.example verified signature");
    for origin in rig.directories.origins() {
        rig.directories.replace(origin, Directory::default());
    }
    assert_eq!(line(), "browser - unverifiable -", "a key that is taken out is out");
}

#[test]
fn a_site_without_a_name_cannot_check_signatures() {
    let config = "[visitor.botauth]\ndirectories = [\"https://crawler.example\"]\n";
    let builder = DeckleLayer::builder().config(Config::from_toml(config).unwrap());
    let refused = builder.clone().build().unwrap_err().to_string();
    assert!(refused.contains("Builder::directories"), "nobody would put keys in: {refused}");
    let policy = "[action.policy.agents]\n\"crawler.example\" = \"block\"\n";
    let refused = DeckleLayer::builder().config(Config::from_toml(policy).unwrap()).build().unwrap_err().to_string();
    assert!(refused.contains("crawler.example"), "nobody can sign by that name: {refused}");
    let list = Directories::new(&["https://crawler.example".to_owned()]).unwrap();
    let refused = builder.directories(Arc::new(list)).build().unwrap_err().to_string();
    assert!(refused.contains("proxy.hosts") && refused.contains("page.origin"), "{refused}");
}
