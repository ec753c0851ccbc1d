const GOLDEN = (Math.sqrt(5) - 1) / 2
const STEPS = 12

/** Looks for the least value of a function between two numbers, on a scale of ratios, by golden sections (Kiefer 1953). */
export function goldenSection(low: number, high: number, of: (value: number) => number): number {
  let [a, b] = [Math.log(low), Math.log(high)]
  let [c, d] = [b - GOLDEN * (b - a), a + GOLDEN * (b - a)]
  let [atC, atD] = [of(Math.exp(c)), of(Math.exp(d))]
  for (let step = 0; step < STEPS; step++) {
    if (atC <= atD) {
      ;[b, d, atD] = [d, c, atC]
      c = b - GOLDEN * (b - a)
      atC = of(Math.exp(c))
    } else {
      ;[a, c, atC] = [c, d, atD]
      d = a + GOLDEN * (b - a)
      atD = of(Math.exp(d))
    }
  }
  return Math.exp(atC <= atD ? c : d)
}
