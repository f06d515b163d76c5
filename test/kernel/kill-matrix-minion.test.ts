import { killMatrix } from "./support/matrix/kill-matrix.ts";

killMatrix("minion");
