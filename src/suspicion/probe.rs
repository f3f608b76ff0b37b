//! Paths that only those ask for who look for holes. They count where nothing is there: a site that has a `/wp-login.php`
//! is asked for it by its editors.

/// Files of secrets and of version control, and doors of content systems.
const NAMES: [&str; 22] = [
    "/.env",
    "/.git/config",
    "/.git/head",
    "/.svn/entries",
    "/.aws/credentials",
    "/.ssh/id_rsa",
    "/.ds_store",
    "/.htpasswd",
    "/wp-login.php",
    "/wp-config.php",
    "/wp-config.php.bak",
    "/xmlrpc.php",
    "/phpinfo.php",
    "/phpmyadmin/index.php",
    "/administrator/index.php",
    "/backup.sql",
    "/dump.sql",
    "/server-status",
    "/actuator/env",
    "/cgi-bin/test-cgi",
    "/vendor/phpunit/phpunit/src/util/php/eval-stdin.php",
    "/solr/admin/info/system",
];

/// Is it one of these, wherever it is looked for?
pub(crate) fn is_probe(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    NAMES.iter().any(|name| lower.ends_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_are_known_wherever_they_are_tried() {
        for path in ["/.env", "/api/.env", "/.git/HEAD", "/blog/wp-login.php"] {
            assert!(is_probe(path), "{path}");
        }
        for path in ["/", "/news/what-is-a-.env-file", "/environment"] {
            assert!(!is_probe(path), "{path}");
        }
    }
}
