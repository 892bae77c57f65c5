/** A seedable source of random numbers (xoshiro128**, Blackman and Vigna 2018), seeded by splitmix32. */
export class Prng {
  private readonly s: Uint32Array;

  constructor(seed: number) {
    this.s = new Uint32Array(4);
    let x = seed >>> 0;
    for (let i = 0; i < 4; i++) {
      x = (x + 0x9e3779b9) >>> 0;
      let z = x;
      z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
      z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
      this.s[i] = (z ^ (z >>> 16)) >>> 0;
    }
  }

  /** An unsigned 32-bit integer. */
  nextU32(): number {
    const [a = 0, b = 0, c = 0, d = 0] = this.s;
    const m = Math.imul(b, 5);
    const result = Math.imul((m << 7) | (m >>> 25), 9) >>> 0;
    const t = b << 9;
    const c1 = c ^ a;
    const d1 = d ^ b;
    this.s[1] = b ^ c1;
    this.s[0] = a ^ d1;
    this.s[2] = c1 ^ t;
    this.s[3] = (d1 << 11) | (d1 >>> 21);
    return result;
  }

  /** A float in [0, 1). */
  random(): number {
    return this.nextU32() / 2 ** 32;
  }

  /** An integer in [min, max]. */
  int(min: number, max: number): number {
    return min + Math.floor(this.random() * (max - min + 1));
  }

  /** True with the given probability. */
  chance(probability: number): boolean {
    return this.random() < probability;
  }
}
