//! What `deckle check` says about the store.

use std::time::Duration;

use redis::AsyncConnectionConfig;

use super::{SharedError, SharedSettings};

/// Time for the connection, and for the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The oldest version that is known to do.
const OLDEST: u32 = 6;

/// Asks the store what it is, and says what should be changed there.
///
/// # Errors
/// [`SharedError`] for settings that do not hold, and for a store that does not answer.
pub async fn advice(settings: &SharedSettings) -> Result<Vec<String>, SharedError> {
    settings.check()?;
    let Some(url) = &settings.url else { return Ok(Vec::new()) };
    let client = redis::Client::open(url.as_str()).map_err(|error| SharedError::Url { reason: error.to_string() })?;
    ask(&client).await.map(|info| judge(&info)).map_err(|error| SharedError::Silent { reason: error.to_string() })
}

async fn ask(client: &redis::Client) -> redis::RedisResult<String> {
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    redis::cmd("INFO").query_async(&mut connection).await
}

/// `INFO` is lines of `name:value`; a name that a service hides is not complained about.
fn judge(info: &str) -> Vec<String> {
    let value = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let mut out = Vec::new();
    if value("redis_version").and_then(|v| v.split('.').next()?.parse().ok()).is_some_and(|major: u32| major < OLDEST) {
        out.push(format!("it is older than version {OLDEST}"));
    }
    if value("maxmemory") == Some("0") {
        out.push("it has no `maxmemory`: a flood of visitors may take all memory of its machine".to_owned());
    }
    if let Some(policy) = value("maxmemory_policy").filter(|policy| *policy != "volatile-lru") {
        out.push(format!("its `maxmemory-policy` is `{policy}`; with `volatile-lru` what is oldest makes room"));
    }
    if value("redis_mode") == Some("cluster") {
        out.push("it is a cluster: most keys would be refused".to_owned());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_as_it_comes_should_be_changed() {
        let fresh = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n# Memory\r\nused_memory:1\r\n\
            maxmemory:0\r\nmaxmemory_human:0B\r\nmaxmemory_policy:noeviction\r\n";
        let advice = judge(fresh);
        assert!(
            advice.len() == 2 && advice[0].contains("`maxmemory`") && advice[1].contains("noeviction"),
            "{advice:?}"
        );
        let good = fresh.replace("maxmemory:0\r", "maxmemory:104857600\r").replace("noeviction", "volatile-lru");
        assert_eq!(judge(&good), Vec::<String>::new());
        assert_eq!(judge(&good.replace("7.0.15", "5.0.7").replace("standalone", "cluster")).len(), 2);
        assert_eq!(judge("# nothing is told"), Vec::<String>::new());
    }
}
