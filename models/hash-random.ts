/**
 * Random numbers without a state: number `index` of the stream that a name and a seed give is a hash of the three,
 * so that a tensor's values do not depend on which others were made before it, and any language can repeat them.
 */

/** FNV-1a over the UTF-8 bytes of `text`, 32 bits. */
export function hashText(text: string): number {
  let hash = 0x811c9dc5
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193)
  return hash >>> 0
}

/** Key of the stream `name` under `seed`. */
export const streamKey = (name: string, seed: number | string): number => hashText(`${seed}/${name}`)

/** A bijection of 32 bits in which every input bit reaches every output bit (multiply and xor-shift, three rounds). */
export function mix(value: number): number {
  let x = value | 0
  x = Math.imul(x ^ (x >>> 16), 0x21f0aaad)
  x = Math.imul(x ^ (x >>> 15), 0x735a2d97)
  return (x ^ (x >>> 15)) >>> 0
}

/** Fills `into` with number 0, 1, ... of a stream, uniform in [low, high): 24 random bits each, rounded to float32. */
export function fillUniform(into: Float32Array, key: number, low: number, high: number): Float32Array {
  const scale = (high - low) / 2 ** 24
  for (let i = 0; i < into.length; i++) into[i] = low + (mix(key + Math.imul(i, 0x9e3779b1)) >>> 8) * scale
  return into
}
