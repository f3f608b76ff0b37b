// The work of the challenge: finds a number that, behind the token, gives a SHA-256 that begins with enough zero bits.
//
// It is only quicker than to wait. The page goes on by itself through its meta refresh, and the link in it does so
// without any script; whatever goes wrong here, both are as they were. What the script has to know stands in the
// attributes of its element: data-token, data-bits, data-url (where the number goes), data-wait (seconds until the
// refresh), data-opening (what is said at the end).
//
// scripts/challenge makes challenge.min.js of this file; the server writes that into the page.
(() => {
  const { token, bits, url, wait, opening } = document.currentScript.dataset;
  // More would be for a machine, and what is no number is none of ours.
  if (!(bits > 0 && bits <= 20)) return;

  // Tries numbers from `n` on for some milliseconds; gives the number to go on with, and 1 if it is the one.
  //
  // crypto.subtle exists in secure contexts alone, and to call it for each number would take longer than to do the
  // sums. The worker is made of the text of this function, so it uses nothing that stands outside of it.
  const search = (token, bits, n, ms) => {
    // The constants of SHA-256: the fractions of the square and the cube roots of the first primes.
    const start = [];
    const constants = [];
    for (let i = 2; constants.length < 64; i++) {
      let divisor = 2;
      while (i % divisor) divisor++;
      if (divisor === i) {
        start.push((i ** (1 / 2) * 2 ** 32) | 0);
        constants.push((i ** (1 / 3) * 2 ** 32) | 0);
      }
    }
    // Token, number (64 bits, lowest byte first; the upper half stays 0), one bit and zeros, length in bits.
    const { length } = token;
    const size = (((length + 16) >> 6) + 1) << 6;
    const message = new DataView(new ArrayBuffer(size));
    for (let i = 0; i < length; i++) message.setUint8(i, token.charCodeAt(i));
    message.setUint8(length + 8, 128);
    message.setUint32(size - 4, (length + 8) * 8);

    const words = new Int32Array(64);
    const end = performance.now() + ms;
    for (; ; n++) {
      message.setUint32(length, n, true);
      let [A, B, C, D, E, F, G, H] = start;
      for (let at = 0; at < size; at += 64) {
        let [a, b, c, d, e, f, g, h] = [A, B, C, D, E, F, G, H];
        for (let i = 0; i < 64; i++) {
          let x = words[i - 15];
          let y = words[i - 2];
          words[i] =
            i < 16
              ? message.getInt32(at + i * 4)
              : words[i - 16] +
                (((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3)) +
                words[i - 7] +
                (((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10));
          x =
            h +
            (((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7))) +
            (g ^ (e & (f ^ g))) +
            constants[i] +
            words[i];
          y =
            (((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10))) +
            ((a & b) | (c & (a | b)));
          h = g;
          g = f;
          f = e;
          e = (d + x) | 0;
          d = c;
          c = b;
          b = a;
          a = (x + y) | 0;
        }
        A = (A + a) | 0;
        B = (B + b) | 0;
        C = (C + c) | 0;
        D = (D + d) | 0;
        E = (E + e) | 0;
        F = (F + f) | 0;
        G = (G + g) | 0;
        H = (H + h) | 0;
      }
      // At most 20 bits are asked for: they stand in the first word.
      if (!(A >>> (32 - bits))) return [n, 1];
      // On a slow phone 128 numbers take a few milliseconds.
      if (!(n & 127) && performance.now() > end) return [n + 1];
    }
  };

  const now = () => performance.now();
  // An answer that is under way when the refresh comes may be lost, and the token with it: rather leave the rest to
  // the refresh.
  const latest = now() + wait * 1000 - 1500;
  let from = 0;
  let spent = 0;
  let asked, timer, worker;

  const ask = () => {
    // Nobody waits in front of it; the refresh comes all the same.
    if (document.hidden) return document.addEventListener("visibilitychange", ask, { once: true });
    asked = now();
    if (spent > 8000 || asked > latest) return worker?.terminate();
    if (worker) {
      worker.postMessage([token, bits, from, 100]);
      timer = timer || setTimeout(alone, 1500);
    } else setTimeout(() => take(search(token, bits, from, 20)));
  };
  const take = ([number, isFound]) => {
    spent += now() - asked;
    from = number;
    if (!isFound) return ask();
    location.replace(`${url}&n=${number}`);
    document.querySelector("[role=status]").textContent = opening;
  };
  // In slices that leave the page alive. Policies and extensions block workers by an exception, by an event, or by
  // silence.
  const alone = () => {
    if (!worker) return;
    worker.terminate();
    worker = 0;
    ask();
  };

  try {
    worker = new Worker(URL.createObjectURL(new Blob([`onmessage=e=>postMessage((${search})(...e.data))`])));
    worker.onmessage = (event) => {
      clearTimeout(timer);
      take(event.data);
    };
    worker.onerror = alone;
  } catch {
    // Without.
  }
  ask();
})();
