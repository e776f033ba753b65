/* The native operators of an instruction set against double loops, as harness.c does for the kernels of layers: values at
 * sizes round the vectors, whole and in parts, nothing written round the outputs, indices and divisors that are refused. */
#include "products.h"
#include "windows.h"
#include "elements.h"
#include "rows.h"
#include "moves.h"

int main(void) {
    rt_fp_enter(); /* as in every call of the executor */
    check_products();
    check_windows();
    check_elements();
    check_rows();
    check_moves();
    for (size_t k = 0; k < sizeof op_list / sizeof op_list[0]; k++) check(tested[k], op_list[k].name, tested[k], 1);
    printf("%s operators: %d checks, %d failed\n", RT_ISA, n_checks, n_failed);
    return n_failed != 0;
}
