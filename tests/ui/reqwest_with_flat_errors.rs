use std::time::Duration;

fn main() {
    let stack =
        tower_reliability::http::stack().timeout(Duration::from_secs(1)).flat_errors().build().unwrap();
    let _ = stack.reqwest(reqwest::Client::new()).get("http://127.0.0.1/");
}
