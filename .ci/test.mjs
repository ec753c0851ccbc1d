// What `npm test` does: types, linter, build, then every test on the sources and on the compiled binary.
// Ends with one line, `N passed, M failed, K skipped`, where a failed check counts as a failed test.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

process.chdir(fileURLToPath(new URL('..', import.meta.url)))
const bin = name => join('node_modules', '.bin', name)
const counts = { passed: 0, failed: 0, skipped: 0 }

function check(name, command, args) {
  const { status } = spawnSync(command, args, { stdio: ['ignore', 'inherit', 'inherit'] })
  console.log(`${status === 0 ? 'ok' : 'FAILED'}: ${name}`)
  counts[status === 0 ? 'passed' : 'failed']++
  return status === 0
}

function tests() {
  const folder = mkdtempSync(join(tmpdir(), 'rnb-test-'))
  const report = join(folder, 'junit.xml')
  try {
    const { status } = spawnSync(
      bin('bun'),
      [
        'test',
        '--timeout=60000',
        '--reporter=junit',
        `--reporter-outfile=${report}`,
        ...process.argv.slice(2),
      ],
      { stdio: ['ignore', 'inherit', 'inherit'] },
    )
    const suites = /<testsuites [^>]*>/.exec(readFileSync(report, 'utf8'))?.[0] ?? ''
    const figure = key => Number(new RegExp(`\\b${key}="(\\d+)"`).exec(suites)?.[1] ?? 0)
    const failed = figure('failures') + figure('errors')
    counts.passed += figure('tests') - failed - figure('skipped')
    counts.skipped += figure('skipped')
    // A crash of the runner itself leaves no failed test behind, and must not pass.
    counts.failed += failed > 0 || status === 0 ? failed : 1
  } catch (error) {
    console.log(`FAILED: the test runner left no report (${error.message})`)
    counts.failed++
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

check('type check', bin('tsc'), ['-p', '.'])
check('linter', bin('biome'), ['check', '.'])
if (check('build', 'npm', ['run', '--silent', 'build'])) tests()
console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`)
process.exit(counts.failed === 0 && counts.passed > 0 ? 0 : 1)
