import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

function run(command: string[]): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(command)
  if (exitCode !== 0) throw new Error(`${command.join(' ')} failed: ${stderr}`)
  return stdout.toString()
}

/**
 * Compiles a C program with gcc against a library's headers, runs it, and parses the JSON that it prints.
 * @param source path of the program
 * @param include folder that holds the headers; the compiler's own folders when left out
 * @throws {Error} with the compiler's words
 */
export function fromHeaders(source: string, include?: string): unknown {
  const folder = mkdtempSync(join(tmpdir(), 'rnb-headers-'))
  try {
    const program = join(folder, 'program')
    const where = include === undefined ? [] : ['-I', include]
    run(['gcc', '-w', ...where, source, '-o', program])
    return JSON.parse(run([program]))
  } finally {
    rmSync(folder, { recursive: true })
  }
}
