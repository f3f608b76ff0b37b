//! How the chances of a finding were calculated, for whoever calculates them again.

use data_encoding::HEXLOWER;

use super::Finding;
use crate::watermark::{Channel, Hit, Observation, Tracer, Working};

/// `derivation.txt`. It holds neither a key, nor what follows from one but the bits that the copy itself shows.
pub(super) fn text(findings: &[Finding<'_>], tracer: &Tracer) -> String {
    let mut out = HEAD.to_owned();
    for finding in findings {
        let trace = &finding.trace;
        out.push_str(&format!(
            "\nCOPY {}\nverdict {}\nN {} candidates\ntests {}\n",
            finding.name.escape_debug(),
            trace.verdict.code(),
            trace.candidates_searched,
            trace.tests
        ));
        let seen: Vec<Observation> = finding.copies.iter().map(|copy| copy.seen.clone()).collect();
        for hit in &trace.hits {
            one(&mut out, hit, &tracer.working(&seen, hit.mark));
        }
    }
    out
}

const HEAD: &str = "HOW THE CHANCES WERE CALCULATED

A mark decides, by the secret, one bit for each place of a page. Places with the same words around them fall into one column;
of a column whose places disagree the majority counts, and a tie says nothing. Given the secret, the bits of a mark that has
nothing to do with the copy are independent of what the copy shows. Such an innocent mark agrees with a column of white space
with chance 1/4 or 3/4, which depends on the column and on what the copy shows there, with any other column with chance 1/2.

  n1 n2 n3   columns that can be compared, of chance 1/4, 1/2 and 3/4
  s          4 for each agreement of chance 1/4, 3 for each of chance 1/2, 2 for each of chance 3/4
  ln p       natural logarithm of P(4 Bin(n1, 1/4) + 3 Bin(n2, 1/2) + 2 Bin(n3, 3/4) >= s)
  adjusted   min(1, N * tests * p), for the best p of all tests: each channel alone, all of them together, seals
  live bits  columns that can be compared, and what the copy shows there: hexadecimal bytes, column n is bit n mod 8 of
             byte n / 8, the lowest bit first

A seal or a token holds 75 bits: the mark, and 24 bits that only the secret can make. By chance one of T places that were
tried passes for a given mark with p = T * 2^-72. Where several copies or several marks were looked for one after the
other, what a mark explains was left out before the next one; the figures below are those of all columns.
";

fn one(out: &mut String, hit: &Hit, workings: &[Working]) {
    out.push_str(&format!("\nmark {}\nbest p {:e}\nadjusted {:e}\n", hit.mark, hit.p, hit.adjusted));
    for evidence in hit.evidence.iter().filter(|one| matches!(one.channel, Channel::Seal | Channel::Markup)) {
        out.push_str(&format!(
            "channel {}\n  found {}\n  of places {}\n  p {:e}\n",
            evidence.channel.code(),
            evidence.paragraphs,
            evidence.live,
            evidence.p
        ));
    }
    for one in workings {
        out.push_str(&format!(
            "channel {}\n  n1 {}\n  n2 {}\n  n3 {}\n  agree {}\n  s {}\n  ln p {}\n  live {}\n  bits {}\n",
            one.channel.code(),
            one.rare,
            one.even,
            one.common,
            one.agree,
            one.score,
            one.ln_p,
            HEXLOWER.encode(&one.live),
            HEXLOWER.encode(&one.bits)
        ));
    }
}
