import type { Argv } from 'yargs'
export const weightsCommands = (parser: Argv, _status: { code: number }): Argv => parser
