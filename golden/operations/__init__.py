"""Operations that frameworks offer by a function of arrays: one record says what is right of each."""
