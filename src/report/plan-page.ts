import type { PlanDocument } from '../planner/document.ts'
import { planCharts } from './charts/plan.ts'
import { escaped } from './markup.ts'
import { cell, figure, makeDocument } from './page.ts'

const percent = (share: number): string => `${Number((100 * share).toPrecision(3))} %`
const short = (value: number): string => String(Number(value.toPrecision(4)))

function goalText({ goal, machine }: PlanDocument): string {
  const where = machine.gpus === 0 ? 'the CPU' : `${machine.gpus} GPU${machine.gpus === 1 ? '' : 's'}`
  const hosts = machine.hosts > 1 ? ` on each of ${machine.hosts} hosts` : ''
  const slo = goal.slo_ms === undefined ? '' : `, at most ${goal.slo_ms} ms`
  const what =
    goal.rate_per_s === undefined
      ? 'the most videos a second'
      : `the lowest p99 at ${short(goal.rate_per_s)} videos/s${slo}`
  return `${what}, on ${where}${hosts}`
}

function table({ plans, winner }: PlanDocument): string {
  const head = ['plan', 'what it places where', 'videos/s', 'p50, ms', 'p99, ms', 'measured', ''].map(
    text => `<th>${text}</th>`,
  )
  const rows = plans.map(({ name, summary, predicted, measured, on_front }) => {
    const marks = [name === winner.name ? 'winner' : '', on_front ? 'front' : ''].filter(text => text !== '')
    const cells = [
      name,
      summary,
      predicted?.videos_per_s ?? null,
      predicted?.p50_ms ?? null,
      predicted?.p99_ms ?? null,
      measured.length === 0 ? null : measured.map(short).join(' '),
      marks.join(', '),
    ]
    // What a plan is takes more than one line: beside it, its figures can be seen without scrolling.
    return `<tr>${cells.map((value, i) => `<td${i === 1 ? ' class="text"' : ''}>${cell(value)}</td>`).join('')}</tr>`
  })
  const at = plans.find(({ predicted }) => predicted)?.predicted?.rate_per_s
  const caption =
    at === undefined
      ? ''
      : `<p>Throughput in bulk, and latency at ${short(at)} videos/s, as predicted; measured: what the goal asks for, by round.</p>`
  return `<h2>Plans</h2>${caption}<div class="scroll"><table><thead><tr>${head.join('')}</tr></thead><tbody>${rows.join('\n')}</tbody></table></div>`
}

const UNITS = { videos_per_s: 'videos/s', p99_ms: 'ms' } as const
const ENDED = {
  proven: 'all that could be better was looked at',
  enough: 'the goal was met',
  stopped: 'its time ended',
} as const

function facts(document: PlanDocument): string {
  const { goal, search, bottleneck, proof, seconds, sample, notes, winner, more } = document
  const unit = UNITS[goal.figure]
  const limit = Object.entries(bottleneck.shares)
    .sort((a, b) => b[1] - a[1])
    .map(([name, share]) => `${name} (${percent(share)})`)
  const refused = Object.values(search.refused).reduce((sum, count) => sum + count, 0)
  const list: [string, string][] = [
    ['goal', goalText(document)],
    ['winner', winner.summary],
    [
      'search',
      `tried ${search.tried} of at most ${search.plans} plans${refused > 0 ? `, ${refused} of which the program would not run` : ''}: ${ENDED[search.ended]}`,
    ],
    [
      'bound',
      `no plan is better than ${short(search.bound)} ${unit}: the best found is within ${percent(search.gap)} of it`,
    ],
    [
      'bottleneck',
      `${limit.join(', ') || 'none that is known'}: its instances can do ${short(bottleneck.per_s)} videos/s at the most`,
    ],
    ...more.map(({ what, from, to }): [string, string] => [
      what,
      `${short(from)} to ${short(to)} ${unit}, as predicted`,
    ]),
    [
      'proof',
      proof
        ? `${proof.verdict}; seeds ${proof.seeds.join(', ')}, ${proof.requests} requests a run. ${proof.test}`
        : 'none',
    ],
    [
      'over the file as given',
      proof?.gain_over_given === undefined || proof.gain_over_given === null
        ? ''
        : `${percent(Math.abs(proof.gain_over_given))} ${proof.gain_over_given < 0 ? 'worse' : 'better'}, in the runs that both made`,
    ],
    ['sample of the search', `${sample.requests} requests, seed ${sample.seed}`],
    [
      'seconds',
      Object.entries(seconds)
        .map(([part, s]) => `${part} ${s}`)
        .join(', '),
    ],
    ['notes', notes.join('; ')],
  ]
  const rows = list
    .filter(([, text]) => text !== '')
    .map(([name, text]) => `<dt>${escaped(name)}</dt><dd>${escaped(text)}</dd>`)
  return `<dl>${rows.join('')}</dl><h2>Command</h2><pre>${escaped(winner.command)}</pre>`
}

/** The page of a plan: what it is, why, and how far to trust it. It asks the network for nothing. */
export function makePlanPage(document: PlanDocument): string {
  const charts = planCharts(document)
  const title = `rnb plan: ${document.pipeline}`
  return makeDocument(title, [facts(document), table(document), ...charts.map(figure)], charts)
}
