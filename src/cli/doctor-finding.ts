/** One thing that was looked at. */
export interface Finding {
  what: string
  ok: boolean
  /** Whether this host can do without: the CPU's libraries where there is a GPU, and the GPU's where there is none. */
  optional?: boolean
  detail: string
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** What `look` says of something, or the error that it ends with. */
export function attempt(what: string, look: () => string): Finding {
  try {
    return { what, ok: true, detail: look() }
  } catch (error) {
    return { what, ok: false, detail: messageOf(error) }
  }
}

/** The same for what takes its time. */
export async function attemptLater(what: string, look: () => Promise<string>): Promise<Finding> {
  try {
    return { what, ok: true, detail: await look() }
  } catch (error) {
    return { what, ok: false, detail: messageOf(error) }
  }
}

const stateOf = ({ ok, optional }: Finding): string => (ok ? 'ok' : optional ? 'absent' : 'MISSING')

/** A line a finding, in columns. */
export function table(findings: readonly Finding[]): string[] {
  const width = Math.max(...findings.map(({ what }) => what.length))
  return findings.map(
    finding => `${finding.what.padEnd(width)}  ${stateOf(finding).padEnd(7)}  ${finding.detail}`,
  )
}
