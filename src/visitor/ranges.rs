//! Prefixes of known proxies, and the presets made of them.

use http::HeaderName;
use ipnet::IpNet;
use serde::Deserialize;

use super::address::{ForwardedHeader, TrustedProxies};
use super::{Settings, VisitorError};

#[derive(Deserialize)]
struct RangeFile {
    prefixes: Vec<IpNet>,
}

/// Cloudflare's published prefixes, as shipped in `assets/ranges/cloudflare.json`.
pub(super) fn cloudflare() -> Vec<IpNet> {
    let text = include_str!("../../assets/ranges/cloudflare.json");
    // A unit test refuses a file that does not parse.
    serde_json::from_str::<RangeFile>(text).map(|file| file.prefixes).unwrap_or_default()
}

enum Preset {
    /// Ships its prefixes.
    Known(Vec<IpNet>, Option<&'static str>),
    /// Only knows its header; the operator names the prefixes.
    HeaderOnly(Option<&'static str>),
}

fn preset(name: &str) -> Option<Preset> {
    let fixed = |list: &[&str]| list.iter().filter_map(|p| p.parse().ok()).collect();
    Some(match name {
        "cloudflare" => Preset::Known(cloudflare(), Some("cf-connecting-ip")),
        "loopback" => Preset::Known(fixed(&["127.0.0.0/8", "::1/128"]), None),
        "private" => Preset::Known(fixed(&["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]), None),
        "fastly" => Preset::HeaderOnly(Some("fastly-client-ip")),
        "akamai" => Preset::HeaderOnly(Some("true-client-ip")),
        "cloudfront" | "bunny" => Preset::HeaderOnly(None),
        _ => return None,
    })
}

impl TrustedProxies {
    /// Those of `visitor.trusted_proxies`.
    pub(crate) fn configured(settings: &Settings) -> Result<Self, VisitorError> {
        trusted_proxies(&settings.trusted_proxies, settings.forwarded.as_deref())
    }
}

fn trusted_proxies(list: &[String], forwarded: Option<&str>) -> Result<TrustedProxies, VisitorError> {
    let mut prefixes: Vec<IpNet> = Vec::new();
    let mut headers: Vec<Option<&'static str>> = Vec::new();
    let mut bare: Option<&String> = None;
    let mut explicit = false;
    for entry in list {
        let unknown = || VisitorError::Proxy { value: entry.clone() };
        match entry.strip_prefix("preset:") {
            Some(name) => match preset(name).ok_or_else(unknown)? {
                Preset::Known(known, header) => {
                    prefixes.extend(known);
                    headers.push(header);
                }
                Preset::HeaderOnly(header) => {
                    bare = Some(entry);
                    headers.push(header);
                }
            },
            None => {
                prefixes.push(prefix(entry).ok_or_else(unknown)?);
                explicit = true;
            }
        }
    }
    if let Some(preset) = bare.filter(|_| !explicit) {
        return Err(VisitorError::PresetNeedsPrefixes { preset: preset.clone() });
    }
    Ok(TrustedProxies::new(prefixes, header(forwarded, &headers)?))
}

/// A prefix, or one address.
fn prefix(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from))
}

fn header(configured: Option<&str>, presets: &[Option<&'static str>]) -> Result<ForwardedHeader, VisitorError> {
    let single = |name: &str| name.parse::<HeaderName>().ok().map(ForwardedHeader::Single);
    match configured {
        Some("x-forwarded-for") => Ok(ForwardedHeader::XForwardedFor),
        Some("forwarded") => Ok(ForwardedHeader::Forwarded),
        Some(value) => value
            .strip_prefix("single:")
            .and_then(single)
            .ok_or_else(|| VisitorError::Forwarded { value: value.to_owned() }),
        None => match presets.split_first() {
            Some((first, rest)) if rest.iter().any(|h| h != first) => Err(VisitorError::PresetsDisagree),
            Some((Some(name), _)) => single(name).ok_or(VisitorError::PresetsDisagree),
            _ => Ok(ForwardedHeader::XForwardedFor),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[&str]) -> Vec<String> {
        entries.iter().map(|e| (*e).to_owned()).collect()
    }

    #[test]
    fn presets_bring_prefixes_and_header() {
        assert_eq!(cloudflare().len(), 22);
        let proxies = trusted_proxies(&list(&["preset:cloudflare"]), None).unwrap();
        assert!(proxies.trusts("173.245.48.5".parse().unwrap()));
        assert!(!proxies.trusts("203.0.113.1".parse().unwrap()));
        assert!(
            trusted_proxies(&list(&["preset:loopback", "10.0.0.1"]), None)
                .unwrap()
                .trusts("127.9.9.9".parse().unwrap())
        );
    }

    #[test]
    fn bad_entries_are_refused() {
        let error = |entries: &[&str], forwarded| trusted_proxies(&list(entries), forwarded).unwrap_err().to_string();
        assert!(error(&["preset:nobody"], None).contains("`preset:nobody`"));
        assert!(error(&["10.0.0.0/99"], None).contains("10.0.0.0/99"));
        assert!(error(&["preset:akamai"], None).contains("ships no prefixes"));
        assert!(error(&["preset:cloudflare", "preset:loopback"], None).contains("different headers"));
        assert!(error(&[], Some("via")).contains("`via`"));
        assert!(trusted_proxies(&list(&["preset:akamai", "203.0.113.0/24"]), None).is_ok());
    }
}
