import { VERSION } from '../version.ts'

/** Versions of what a run's figures depend on. */
export function versions(): Record<string, string> {
  return { rnb: VERSION, bun: Bun.version }
}
