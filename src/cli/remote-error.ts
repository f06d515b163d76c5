import type { ControlError } from "../core/control-api.ts";
import { LatchkeyError } from "../core/errors.ts";

/** An error that the master answered with: its words, its hint, its exit status. */
export class RemoteError extends LatchkeyError {
  readonly exitStatus: number;
  /** Status of the HTTP answer: 409 is a conflict, 422 a mistake in what was sent. */
  readonly httpStatus: number;

  constructor(httpStatus: number, error: ControlError) {
    super(error.code, error.message, {
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      ...(error.facts === undefined ? {} : { facts: error.facts }),
    });
    this.httpStatus = httpStatus;
    this.exitStatus = error.exitStatus;
  }
}
