//! Clients of one make on many addresses.

use super::*;

/// One of 200 homes in 200 networks.
fn home(number: u32) -> Client {
    Client { ip: [100 + (number % 50) as u8, (number / 50) as u8, 7, 9], fields: FIREFOX }
}

#[test]
fn many_homes_of_one_make_count_against_each_other() {
    for challenge in [false, true] {
        let rig = Rig::with(CohortSettings { challenge });
        let page = |number: u32, page: u32| {
            rig.wait(300);
            rig.get(home(number), &format!("/news/a-b-c-{page}"))
        };
        let visits: Vec<Assessment> = (0..800).map(|n| page(n % 200, n)).collect();
        let member = |got: &Assessment| codes(got).contains(&"cohort");
        assert!(!visits[..300].iter().any(member), "not before there are 300 pages");
        assert!(visits[350..].iter().all(member));
        assert!(visits[350..].iter().all(|got| got.pressed == challenge));
        // A reader with the same browser has fetched something, and a newcomer has not had the time to.
        let reader = Client { ip: [203, 0, 113, 9], fields: FIREFOX };
        assert!(!member(&rig.get(reader, "/")));
        rig.get(reader, "/static/a.css");
        assert!(!member(&rig.get(reader, "/news/a-b-c-1")));
        let other = Client { ip: [203, 0, 113, 10], fields: REQUESTS };
        assert!((0..5).all(|n| !member(&rig.get(other, &format!("/news/a-b-c-{n}")))), "of another make");
    }
}

#[test]
fn the_readers_of_a_popular_browser_are_no_cohort() {
    let rig = Rig::new();
    for n in 0..1_000 {
        rig.wait(300);
        let client = home(n % 200);
        assert!(!codes(&rig.get(client, &format!("/news/a-b-c-{n}"))).contains(&"cohort"), "page {n}");
        // Every tenth of them shows that it is a browser.
        if n % 10 == 0 {
            rig.get(client, "/static/a.css");
        }
    }
}
