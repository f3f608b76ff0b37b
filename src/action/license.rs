//! Action `license`: 402 with the address of the licence, and what it costs.
//!
//! deckle takes no money. Mode `quote` says where a licence is to be had; mode `cloudflare` speaks the fields of
//! Cloudflare's pay per crawl, so that its crawlers understand the answer, and refuses every offer.

use std::str::FromStr;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};

use super::ActionError;
use crate::rights;
use crate::rights::fields::RSL_TYPE;
use crate::visitor::normalise;

const PRICE: HeaderName = HeaderName::from_static("crawler-price");
const ERROR: HeaderName = HeaderName::from_static("crawler-error");
const EXACT: HeaderName = HeaderName::from_static("crawler-exact-price");
const MAX: HeaderName = HeaderName::from_static("crawler-max-price");

/// Section `[action.license]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LicenseSettings {
    /// How the price is told.
    pub mode: LicenseMode,
    /// The price of one page: currency (ISO 4217) and amount, as in `USD 0.01`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<String>,
}

/// How a 402 tells its price.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LicenseMode {
    /// In the text.
    #[default]
    Quote,
    /// In the fields of Cloudflare's pay per crawl, too.
    Cloudflare,
}

/// What a 402 says.
#[derive(Debug, Clone)]
pub(super) struct License {
    pub(super) url: String,
    pub(super) page: Option<String>,
    pub(super) price: Option<Price>,
    /// Paths of the documents above: whoever is sent there may read them.
    free: Vec<String>,
    link: HeaderValue,
    mode: LicenseMode,
}

/// A price of one page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Price {
    currency: String,
    /// Millionths.
    micros: u64,
    text: String,
}

impl LicenseSettings {
    pub(super) fn check(&self) -> Result<Option<Price>, ActionError> {
        match (&self.price, self.mode) {
            (None, LicenseMode::Quote) => Ok(None),
            (None, LicenseMode::Cloudflare) => Err(ActionError::Price { price: String::new() }),
            (Some(text), _) => text.parse().map(Some).map_err(|()| ActionError::Price { price: text.clone() }),
        }
    }
}

impl License {
    /// `None` without a licence for programs: there is nothing to point to.
    pub(super) fn new(settings: &LicenseSettings, licence: &rights::LicenseSettings) -> Option<Self> {
        let url = licence.url.clone()?;
        let link = HeaderValue::from_str(&format!("<{url}>; rel=\"license\"; type=\"{RSL_TYPE}\"")).ok()?;
        let price = settings.check().ok().flatten();
        let path = |address: &String| address.parse::<http::Uri>().ok().map(|uri| normalise(uri.path()));
        let free = [Some(&url), licence.page.as_ref()].into_iter().flatten().filter_map(path).collect();
        Some(Self { url, page: licence.page.clone(), price, free, link, mode: settings.mode })
    }

    /// Is this the path of the licence itself?
    pub(super) fn is_free(&self, path: &str) -> bool {
        self.free.iter().any(|free| free == path)
    }

    /// Status and fields for a request; `verified`: its signature was checked.
    pub(super) fn answer(&self, request: &HeaderMap, verified: bool) -> (StatusCode, HeaderMap) {
        let mut fields = HeaderMap::new();
        fields.insert(header::LINK, self.link.clone());
        let (LicenseMode::Cloudflare, Some(price)) = (self.mode, &self.price) else {
            return (StatusCode::PAYMENT_REQUIRED, fields);
        };
        if let Ok(value) = HeaderValue::from_str(&price.text) {
            fields.insert(PRICE, value);
        }
        let (status, error) = price.judge(request, verified);
        fields.insert(ERROR, HeaderValue::from_static(error));
        (status, fields)
    }
}

impl Price {
    /// What is wrong with an offer; something always is, for nobody takes the money.
    fn judge(&self, request: &HeaderMap, verified: bool) -> (StatusCode, &'static str) {
        let offer = |name: &HeaderName| request.get(name).map(|v| v.to_str().unwrap_or_default().parse::<Self>());
        match (offer(&EXACT), offer(&MAX)) {
            (Some(_), Some(_)) => (StatusCode::BAD_REQUEST, "ConflictingPriceHeaders"),
            (None, None) => (StatusCode::PAYMENT_REQUIRED, "MissingCrawlerPrice"),
            (Some(Err(())), _) | (_, Some(Err(()))) => (StatusCode::BAD_REQUEST, "InvalidCrawlerPriceValue"),
            (Some(Ok(exact)), _) if (&exact.currency, exact.micros) != (&self.currency, self.micros) => {
                (StatusCode::PAYMENT_REQUIRED, "InvalidCrawlerExactPrice")
            }
            (_, Some(Ok(most))) if most.currency != self.currency || most.micros < self.micros => {
                (StatusCode::PAYMENT_REQUIRED, "InvalidCrawlerMaxPrice")
            }
            _ if !verified => (StatusCode::BAD_REQUEST, "InvalidSignature"),
            _ => (StatusCode::FORBIDDEN, "PaymentFailed"),
        }
    }
}

impl FromStr for Price {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (currency, amount) = text.split_once(' ').ok_or(())?;
        let (whole, part) = amount.split_once('.').unwrap_or((amount, "0"));
        let digits = |s: &str| !s.is_empty() && s.len() <= 9 && s.bytes().all(|b| b.is_ascii_digit());
        let plain = currency.len() == 3 && currency.bytes().all(|b| b.is_ascii_uppercase());
        if !plain || !digits(whole) || !digits(part) || part.len() > 6 {
            return Err(());
        }
        let micros =
            whole.parse::<u64>().map_err(|_| ())? * 1_000_000 + format!("{part:0<6}").parse::<u64>().map_err(|_| ())?;
        Ok(Self { currency: currency.to_owned(), micros, text: text.to_owned() })
    }
}

impl std::fmt::Display for Price {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn licence(mode: LicenseMode) -> License {
        let settings = LicenseSettings { mode, price: Some("USD 0.01".to_owned()) };
        let place =
            rights::LicenseSettings { url: Some("https://news.example/license.xml".to_owned()), ..Default::default() };
        License::new(&settings, &place).unwrap()
    }

    #[test]
    fn prices_are_read_exactly() {
        for (text, micros) in [("USD 0.01", Some(10_000)), ("EUR 12", Some(12_000_000)), ("USD 0.000001", Some(1))] {
            assert_eq!(text.parse::<Price>().ok().map(|p| p.micros), micros, "{text}");
        }
        for text in
            ["", "USD", "usd 1", "USD 1.", "USD .5", "USD -1", "USD 1e3", "USD 0.0000001", "USD 9999999999", "USD  1"]
        {
            assert!(text.parse::<Price>().is_err(), "{text}");
            let settings = LicenseSettings { price: Some(text.to_owned()), ..LicenseSettings::default() };
            assert!(settings.check().is_err());
        }
        assert!(LicenseSettings { mode: LicenseMode::Cloudflare, price: None }.check().is_err());
    }

    /// Error codes and statuses of Cloudflare's pay per crawl.
    #[test]
    fn every_offer_is_answered_by_its_code() {
        for (exact, max, verified, status, error) in [
            (None, None, true, 402, "MissingCrawlerPrice"),
            (Some("USD 0.01"), Some("USD 0.02"), true, 400, "ConflictingPriceHeaders"),
            (Some("one cent"), None, true, 400, "InvalidCrawlerPriceValue"),
            (None, Some("USD"), true, 400, "InvalidCrawlerPriceValue"),
            (Some("USD 0.02"), None, true, 402, "InvalidCrawlerExactPrice"),
            (Some("EUR 0.01"), None, true, 402, "InvalidCrawlerExactPrice"),
            (None, Some("USD 0.009"), true, 402, "InvalidCrawlerMaxPrice"),
            (None, Some("EUR 5"), true, 402, "InvalidCrawlerMaxPrice"),
            (Some("USD 0.010"), None, false, 400, "InvalidSignature"),
            (None, Some("USD 5"), true, 403, "PaymentFailed"),
        ] {
            let mut request = HeaderMap::new();
            exact.map(|v| request.insert(EXACT, v.parse().unwrap()));
            max.map(|v| request.insert(MAX, v.parse().unwrap()));
            let (got, fields) = licence(LicenseMode::Cloudflare).answer(&request, verified);
            assert_eq!((got.as_u16(), fields[ERROR].to_str().unwrap()), (status, error), "{exact:?} {max:?}");
            assert_eq!(fields[PRICE], "USD 0.01");
        }
        let (status, fields) = licence(LicenseMode::Quote).answer(&HeaderMap::new(), false);
        assert_eq!((status.as_u16(), fields.len()), (402, 1));
        assert_eq!(
            fields[header::LINK],
            "<https://news.example/license.xml>; rel=\"license\"; type=\"application/rsl+xml\""
        );
    }
}
